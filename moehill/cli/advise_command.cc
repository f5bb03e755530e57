// `moehill advise` answers a question of somebody who plans a purchase or a job: does expert parallelism pay
// off on this many nodes, over how many devices, by which path, and what limits it? It runs nothing.
// The answer comes from advise() (moehill/predict/advice.h); this file only turns options into an
// AdviceQuestion and prints the text.
//
//     moehill advise --preset qwen3-30b-a3b --nodes 2 --hardware epyc-cluster
#include "moehill/predict/advice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/base/terminal.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/predict_options.h"

namespace moehill {
namespace {

// AdviseOptions is what the command line fills. The options of the point are shared with `predict`; the
// question is for advise() only.
struct AdviseOptions {
  PredictOptions point;
  AdviceQuestion question;
};

OptionSet advise_option_set(AdviseOptions& o) {
  OptionSet set(
      "moehill advise",
      "Says whether expert parallelism is worth it on these nodes, over which devices, by which path, and "
      "what limits it.",
      {"moehill advise --preset qwen3-30b-a3b --nodes 2 --hardware epyc-cluster",
       "moehill advise --preset deepseek-v3 --nodes 8 --hardware h100-node --tokens-per-device 4096",
       "moehill advise --preset olmoe-1b-7b --hardware this --bench-pass forward"});
  BenchOptions& bench = o.point.bench;
  declare_preset(set, &bench.preset);
  declare_config(set, &bench.config);
  set.fields(&bench.shape, {"hidden", "mlp_dim", "experts", "topk", "shared_expert_dim", "dtype"});
  declare_expert_form(set, &bench.shape.form);
  declare_distribution(set, &bench.distributions);
  set.fields(&bench.block, {"bench_pass"});
  set.integer("--tokens-per-device", &o.question.tokens_per_device, 1, 1 << 24,
              "tokens of a step that each device brings");
  declare_nodes(set, &o.point.nodes);
  set.choice("--wire", &o.question.wire, kWireHelp);
  set.fields(&bench, {"seed"});
  declare_hardware(set, &o.point.hardware);
  set.input("--probe", &o.point.probe, "FILE", "another file of a probe, for --hardware this");
  return set;
}

}  // namespace

int advise_command(const std::vector<std::string>& args) {
  AdviseOptions o;
  OptionSet set = advise_option_set(o);
  if (!set.parse(args)) return kExitDone;
  refuse_unused(set, o.point);
  refuse_seed_of_trace(set, o.point.bench.distributions.front());
  apply_model(set, o.point.bench);
  const ChosenHardware chosen = choose_hardware(o.point);
  AdviceQuestion& question = o.question;
  question.shape = predicted_config(o.point, chosen.hardware, ParallelMode::none).shape;
  question.pass = o.point.bench.block.pass;
  question.distribution = o.point.bench.distributions.front();
  question.nodes = static_cast<int>(std::max<int64_t>(1, o.point.nodes));
  question.seed = o.point.bench.seed;
  // The answer ends with a command to try. It repeats the options of the shape, but not the options of the
  // question.
  std::vector<std::string> shape;
  for (const auto& [name, value] : set.given_options())
    if (name != "nodes" && name != "hardware" && name != "probe" && name != "tokens_per_device" &&
        name != "bench_pass" && name != "wire")
      shape.push_back(fmt::format("{} {}", option_name(name), shell_word(value.value_or(""))));
  question.hardware = o.point.hardware;
  if (set.given("--probe")) question.probe = o.point.probe;
  question.shape_options = fmt::format("{}", fmt::join(shape, " "));
  const std::string note = chosen.note.empty() ? "" : chosen.note + "\n";
  show(fmt::format(
      "{}{}",
      advice_text(advise(question, chosen.hardware), question, chosen.hardware, error_of_model(o.point)),
      note));
  return kExitDone;
}

}  // namespace moehill
