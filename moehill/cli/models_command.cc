// `moehill models` lists the blocks of known models, or the block of one config.json: shape, router, size of
// the weights, FLOPs of a token, and what of the model a block here leaves out.
//
//     moehill models
//     moehill models --config config.json --layer 3
#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/catalog/model_record.h"
#include "moehill/catalog/presets.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"

namespace moehill {
namespace {

std::string gigabytes(double bytes) { return fmt::format("{:.3g} GB", bytes * 1e-9); }

std::vector<std::string> row_of(const std::string& name, const ModelBlock& block) {
  const MoeShape& s = block.shape;
  const auto number = [](auto value) { return fmt::format("{}", value); };
  return {name,
          number(s.hidden),
          number(s.mlp_dim),
          number(s.experts),
          number(s.topk),
          number(s.shared_dim),
          fmt::format("{}/{}", block.num_moe_layers, block.num_layers),
          to_string(s.router),
          to_string(block.shape.form),
          gigabytes(weight_bytes(block, kBf16Bytes)),
          fmt::format("{:.4g}", flops_per_token(block) * 1e-6),
          block.left_out.empty() ? "yes" : "in part"};
}

void print_notes(const std::string& name, const ModelBlock& block) {
  if (!block.left_out.empty()) show(fmt::format("{}: not supported yet: {}\n", name, left_out_words(block)));
  for (const std::string& sentence : block.assumed) show(fmt::format("{}: {}\n", name, sentence));
}

}  // namespace

int models_command(const std::vector<std::string>& args) {
  std::string config, json;
  int64_t layer = -1;
  OptionSet set("moehill models",
                "Lists the Mixture-of-Experts blocks of known models, or of one config.json.",
                {"moehill models", "moehill models --json -", "moehill models --json models.jsonl"});
  set.input("--config", &config, "FILE", "a model's config.json instead of the known models");
  set.custom("--layer", "0..9999", "the first with experts", "which layer of --config",
             [&](const std::string& text) { layer = parse_integer("--layer", text, 0, 9999); });
  set.output("--json", &json, "FILE", "one record a model; - is standard output, without the table");
  if (!set.parse(args)) return kExitDone;
  if (config.empty() && set.given("--layer"))
    throw usage_error("--layer needs --config", "add --config FILE");
  require_writable_json(json);
  std::vector<std::pair<std::string, ModelBlock>> blocks;
  std::vector<std::string> sources;
  // Without --config, all presets are listed.
  if (config.empty()) {
    for (const std::string& name : preset_names()) {
      const Preset preset = load_preset(name);
      blocks.emplace_back(name, preset.block);
      sources.push_back(preset.source);
    }
  } else {
    const auto chosen = layer < 0 ? std::nullopt : std::optional<int64_t>(layer);
    blocks.emplace_back(config, describe_model_block(config, chosen));
    sources.push_back(config);
  }
  // Records go first; with "-" they are the whole output.
  if (!json.empty()) {
    std::string lines;
    for (size_t i = 0; i < blocks.size(); ++i)
      lines += json_line(model_record(blocks[i].first, sources[i], blocks[i].second));
    write_json_lines(json, lines);
    if (json == "-") return kExitDone;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, block] : blocks) rows.push_back(row_of(name, block));
  show(format_table({"model", "hidden", "mlp", "experts", "top-k", "shared", "MoE layers", "router",
                     "expert form", "weights", "MFLOP/token", "supported"},
                    rows));
  show(fmt::format(
      "weights: experts, shared expert and router of one layer in bf16; MFLOP/token: its forward pass\n"));
  for (const auto& [name, block] : blocks) print_notes(name, block);
  return kExitDone;
}

}  // namespace moehill
