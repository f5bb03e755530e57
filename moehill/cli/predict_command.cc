// `moehill predict` prints what the model expects of a shape, stage by stage, without running it. It can also
// rank all ways to spread the block, show where one overtakes the other, and compare the model with runs on
// this machine or with published rows. The model is predict_run() (moehill/predict/prediction.h).
//
//     moehill predict --preset olmoe-1b-7b --tokens 2048 --hardware tpu-v5p --parallel-mode ep
//     moehill predict --preset qwen3-30b-a3b --tokens 4096 --hardware h100-node --compare-paths
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/cli/predict_options.h"
#include "moehill/machine/topology.h"
#include "moehill/predict/advice.h"
#include "moehill/predict/expectation_report.h"
#include "moehill/predict/pick_score.h"
#include "moehill/predict/published_model.h"
#include "moehill/validate/validation.h"

namespace moehill {
namespace {

bool is_of_validation(const std::string& name) {
  return name == "--probe" || name == "--seed" || name == "--json";
}

// Throws InputError for two kinds of prediction at once and for options that the chosen kind does not use.
void refuse_contradictions(const OptionSet& set, const PredictOptions& o) {
  const int num_kinds = o.compare_paths + o.crossover + o.published + o.score + (o.validate > 0);
  if (num_kinds > 1)
    throw usage_error(
        "--compare-paths, --crossover, --validate, --published and --score cannot be used together",
        "choose one");
  if (num_kinds == 1 && (set.given("--parallel-mode") || set.given("--ep-path")))
    throw usage_error("--parallel-mode and --ep-path cannot be used with a comparison of all paths",
                      "leave them out");
  for (const char* name : {"--tokens", "--topk", "--json"}) {
    if (o.crossover && set.given(name))
      throw usage_error(
          fmt::format("{} cannot be used with --crossover, which is one table over tokens and top-k", name),
          "leave one of the two out");
  }
  // From here on rows, runs or shapes are fixed, so options of the shape have no effect.
  if (!o.published && !o.score && o.validate == 0) return;
  for (const std::string& name : set.names()) {
    const bool used = name == "--published" || name == "--score" || name == "--validate" ||
                      (name == "--hardware" && !o.score) || (o.validate > 0 && is_of_validation(name));
    if (!used && set.given(name))
      throw usage_error(fmt::format("{} has no effect here, since the rows, runs or shapes are fixed", name),
                        "leave it out");
  }
}

bool parse_predict_options(const std::vector<std::string>& args, PredictOptions& o) {
  OptionSet set("moehill predict", "Predicts a step's time, stage by stage, from the exact work of its plan.",
                {"moehill predict --preset olmoe-1b-7b --tokens 2048 --hardware tpu-v5p --parallel-mode ep",
                 "moehill predict --preset qwen3-30b-a3b --tokens 4096 --hardware h100-node --compare-paths",
                 "moehill predict --published"});
  declare_point(set, o);
  declare_nodes(set, &o.nodes);
  set.flag("--compare-paths", &o.compare_paths, "rank none, dp and every path");
  set.flag("--crossover", &o.crossover, "the fastest of none, dp and ep over tokens and top-k");
  set.integer("--validate", &o.validate, 0, 1000,
              "compare with this many random shapes (of --seed), run here by every spread; 0: off");
  set.flag("--published", &o.published,
           "compare the order of the reference logbook's rows; on --hardware, else tpu-v5p");
  set.flag("--score", &o.score, "how well --ep-path auto has done in the runs of bench so far");
  set.output("--json", &o.json, "FILE",
             "the predictions, one a line; - is standard output, the table then goes to standard error");
  if (!set.parse(args)) return false;
  refuse_contradictions(set, o);
  resolve_point(set, o);
  refuse_seed_of_trace(set, o.bench.distributions.front());
  return true;
}

// Returns the predictions of `none`, `dp` and every path of expert parallelism, the fastest first.
std::vector<ExpectedSpread> expect_all(const PredictOptions& o, const Hardware& hardware,
                                       const Routing& routing) {
  std::vector<ExpectedSpread> all;
  for (const ParallelMode mode : {ParallelMode::none, ParallelMode::dp}) {
    if (mode == ParallelMode::dp && o.bench.shape.form.latent > 0)
      continue;  // dp is not built for latent experts
    const RunConfig config = predicted_config(o, hardware, mode);
    all.push_back({config, predict_run(config, routing, hardware)});
  }
  RunConfig config = predicted_config(o, hardware, ParallelMode::ep);
  for (const RankedPath& ranked : rank_paths(config, routing, hardware)) {
    config.spread = ranked.path;
    all.push_back({config, ranked.prediction});
  }
  std::stable_sort(all.begin(), all.end(), [](const ExpectedSpread& a, const ExpectedSpread& b) {
    return a.prediction.time_s < b.prediction.time_s;
  });
  return all;
}

// Returns the predictions of the modes that were asked for. An `auto` path is the path with the lowest
// predicted time.
std::vector<ExpectedSpread> expect_modes(const PredictOptions& o, const Hardware& hardware,
                                         const Routing& routing) {
  std::vector<ExpectedSpread> expected;
  for (const ParallelMode mode : o.bench.modes) {
    RunConfig config = predicted_config(o, hardware, mode);
    if (mode == ParallelMode::ep && !o.bench.ep_path)
      config.spread = rank_paths(config, routing, hardware).front().path;
    expected.push_back({config, predict_run(config, routing, hardware)});
  }
  return expected;
}

// Returns a table with a line for each number of tokens and a column for each top-k. A cell names the fastest
// spread, and says by how much it beats the best spread of the other two modes (of none, dp and ep).
std::string crossover_table(PredictOptions o, const Hardware& hardware) {
  const std::vector<int> topks = {1, 2, 4, 8};
  std::vector<std::string> header = {"tokens"};
  for (const int k : topks) header.push_back(fmt::format("top-{}", k));
  std::vector<std::vector<std::string>> rows;
  for (int64_t tokens = 64; tokens <= 16384; tokens *= 4) {
    std::vector<std::string> row = {std::to_string(tokens)};
    for (const int k : topks) {
      if (k > o.bench.shape.experts) {
        row.push_back("-");
        continue;
      }
      o.bench.shape.tokens = tokens;
      o.bench.shape.topk = k;
      const MoeShape shape = predicted_config(o, hardware, ParallelMode::none).shape;
      const std::vector<ExpectedSpread> all = expect_all(o, hardware, predicted_routing(o, shape, hardware));
      // The rival is the best spread of another mode. A second path of the same mode would say nothing about
      // the crossover.
      const auto rival = std::find_if(all.begin(), all.end(), [&](const ExpectedSpread& e) {
        return mode_of(e.config.spread) != mode_of(all.front().config.spread);
      });
      row.push_back(fmt::format("{} x{:.2f}", name_of(all.front().config.spread),
                                rival->prediction.time_s / all.front().prediction.time_s));
    }
    rows.push_back(row);
  }
  return format_table(header, rows);
}

void print_and_write(const PredictOptions& o, const std::string& lines, const std::string& text) {
  show(text, table_stream(o.json));
  write_json_lines(o.json, lines);
}

void print_and_write(const PredictOptions& o, const Hardware& hardware,
                     const std::vector<ExpectedSpread>& expected, const std::string& text) {
  std::string lines;
  for (const ExpectedSpread& e : expected)
    lines += json_line(expectation_json(e, hardware, o.bench.distributions.front(), o.bench.seed));
  print_and_write(o, lines, text);
}

std::string published_text(const PredictOptions& o) {
  const Hardware hardware = load_hardware(o.hardware == "probe" ? "tpu-v5p" : o.hardware);
  const std::vector<PublishedRow> rows = read_published("");
  if (rows.empty())
    throw input_error("--published", "no reference/tpu_v5p_logbook.csv in the folder of the build",
                      "a whole checkout", "build from one");
  // Rows of equal sizes share a routing, so the first rows take longer than the others, and no time of all is
  // estimated from them.
  size_t num_done = 0;
  const std::function<void()> done = [&] {
    show_progress(++num_done == 2 * rows.size() ? ""
                                                : fmt::format("{} of {} rows", num_done, 2 * rows.size()));
  };
  const PublishedOrder order = published_order(rows, hardware, Defects::modelled, done);
  return published_report(order, published_order(rows, hardware, Defects::left_out, done), hardware);
}

// Runs shapes here and compares them with predictions. Returns the exit status.
int validate(const PredictOptions& o, const Hardware& hardware, const std::string& note) {
  const uint32_t corpus = o.bench.seed;
  warn_if_busy(detect_topology().num_cores);
  CountedShapes counted(o.validate);
  const std::vector<ValidatedShape> shapes =
      validate_model(static_cast<int>(o.validate), corpus, hardware, [&] { return counted.done(); });
  print_and_write(o, validation_records(shapes, corpus, hardware.name),
                  fmt::format("{}measured here, predicted for {}\n{}{}", note, hardware.name, counted.line(),
                              validation_report(shapes)));
  return counted.exit_status();
}

}  // namespace

int predict_command(const std::vector<std::string>& args) {
  PredictOptions options;
  if (!parse_predict_options(args, options)) return kExitDone;
  require_writable_json(options.json);
  // These two need no shape and no probe of this machine.
  if (options.published || options.score) {
    show(options.score ? score_report(read_scores(default_score_file())) : published_text(options));
    return kExitDone;
  }
  const ChosenHardware chosen = choose_hardware(options);
  const Hardware& hardware = chosen.hardware;
  std::string text = chosen.note.empty() ? "" : chosen.note + "\n";
  if (options.validate > 0) return validate(options, hardware, text);
  if (options.crossover) {
    PredictOptions top_1 = options;  // any number of experts allows top-1
    top_1.bench.shape.topk = 1;
    const RunConfig ep = predicted_config(top_1, hardware, ParallelMode::ep);
    text += fmt::format("the fastest of none, dp and ep on {}, {}, and its lead over the next mode\n{}",
                        hardware.name, layout_text(hardware, ep.num_devices, ep.threads_per_device),
                        crossover_table(options, hardware));
    show(text);
    return kExitDone;
  }
  // One routing serves all spreads, so they differ only in how they move and compute the same rows.
  const MoeShape shape = predicted_config(options, hardware, ParallelMode::none).shape;
  const Routing routing = predicted_routing(options, shape, hardware);
  const std::vector<ExpectedSpread> expected = options.compare_paths
                                                   ? expect_all(options, hardware, routing)
                                                   : expect_modes(options, hardware, routing);
  text = expectation_answer(expected) + text;
  text += fmt::format("{}, {}, {} on {}\n{}{}", to_string(shape), name_of(options.bench.block.pass),
                      to_string(options.bench.distributions.front()), hardware.name,
                      peak_line(hardware, shape.dtype), spread_table(expected, hardware));
  if (!options.compare_paths) text += stage_table(expected);
  const char* next =
      "Next: --compare-paths, in place of --parallel-mode and --ep-path, ranks all ways to spread the "
      "block.\n";
  text +=
      fmt::format("\nHow sure this is:\n{}\n{}", error_of_model(options), options.compare_paths ? "" : next);
  print_and_write(options, hardware, expected, text);
  return kExitDone;
}

}  // namespace moehill
