// Implementation of cli/tune_options.h.
#include "moehill/cli/tune_options.h"

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/cli/flag_effects.h"
#include "moehill/cli/presets.h"
#include "moehill/experiments/plan.h"

namespace moehill {
namespace {

// Parses "bt=64;bf=1024" into sets of block sizes; the default comes first, since all others are compared
// with it.
std::vector<BlockSizes> parse_candidates(const std::string& text) {
  std::vector<BlockSizes> candidates = {BlockSizes{}};
  for (const std::string& set : split(text, ';')) {
    if (set.empty())
      throw input_error("--candidates", quoted(text), "sets as --blocks has them, with ; between",
                        "write for example --candidates \"bt=64;bf=1024\"");
    candidates.push_back(parse_blocks(set));
  }
  return candidates;
}

}  // namespace

std::optional<TuneOptions> parse_tune_options(const std::vector<std::string>& args) {
  TuneOptions o;
  BenchOptions& b = o.bench;
  b.table = TableChoice::off;
  OptionSet set(
      "moehill tune", "Measures block sizes of the grouped GEMM for a problem and keeps the best.",
      {"moehill tune --preset olmoe-1b-7b --tokens 256 --bench-pass forward --budget 30s",
       "moehill tune --tokens 128 --hidden 256 --mlp-dim 256 --experts 8 --budget 2s --table tuned.json",
       "moehill tune --tokens 128 --experts 8 --budget 2s --candidates \"bt=64;bt=128,bf=64\" "
       "--table t.json"});
  declare_shape(set, b);
  declare_routing(set, b);
  set.fields(&b.block, {"bench_pass", "remat_mode"});
  set.choices("--impl", &b.impls, {}, "how the block is computed");
  declare_devices(set, b);
  set.custom("--budget", "TIME", "60s", "time of timed steps for each problem, such as 30s, 5m",
             [&o](const std::string& text) { o.budget_s = parse_duration("--budget", text); });
  set.custom("--candidates", "SETS", "by the caches",
             "only these sets and the default; each as for --blocks, with ; between them",
             [&o](const std::string& text) { o.candidates = parse_candidates(text); });
  set.text("--table", &o.table, "FILE", "where the winner is kept; by default in this user's data folder");
  set.fields(&b, {"seed"});
  if (!set.parse(args)) return std::nullopt;
  apply_model(set, b);
  if (b.tokens_auto)
    throw input_error("--tokens", "auto", "a number, since the rows of an expert are part of the problem",
                      "choose one");
  refuse_flags_without_effect(b, [&](const std::string& name) { return set.given(name); });
  return o;
}

}  // namespace moehill
