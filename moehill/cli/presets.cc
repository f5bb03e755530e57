#include "moehill/cli/presets.h"

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {

void declare_preset(OptionSet& set, std::string* preset) {
  set.custom("--preset", "NAME", preset->empty() ? "none" : *preset,
             "block of a known model, as moehill models lists them; single options override it",
             [=](const std::string& text) {
               parse_choice("--preset", text, preset_names());
               *preset = text;
             });
}

void declare_config(OptionSet& set, std::string* config) {
  set.input("--config", config, "FILE", "block of a model by its config.json; single options override it");
}

void declare_expert_form(OptionSet& set, ExpertForm* form) {
  set.custom("--expert-form", "ACTIVATION[,WORD..]", to_string(*form),
             "what an expert computes of a row, docs/metrics.md",
             [=](const std::string& text) { *form = parse_expert_form(text); });
}

std::optional<ModelBlock> chosen_model(const std::string& preset, const std::string& config,
                                       std::optional<int64_t> layer) {
  if (!preset.empty() && !config.empty())
    throw usage_error("--config cannot be used with --preset", "leave one of the two out");
  if (!config.empty()) return load_model_block(config, layer);
  if (preset.empty()) return std::nullopt;
  const Preset known = load_preset(preset);
  refuse_left_out(known);
  return known.block;
}

void take_shape(const OptionSet& set, const ModelBlock& block, MoeShape& shape) {
  if (!set.given("--hidden")) shape.hidden = block.shape.hidden;
  if (!set.given("--mlp-dim")) shape.mlp_dim = block.shape.mlp_dim;
  if (!set.given("--experts")) shape.experts = block.shape.experts;
  if (!set.given("--topk")) shape.topk = block.shape.topk;
  if (!set.given("--shared-expert-dim")) shape.shared_dim = block.shape.shared_dim;
  if (set.given("--expert-form")) return;
  shape.form = block.shape.form;
  if (shape.shared_dim == 0) shape.form.shared_gate = false;
}

}  // namespace moehill
