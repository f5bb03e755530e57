// `moehill tune` measures block sizes of the grouped GEMM for a problem, in turn, and keeps the best ones in
// a table, in which later runs look (moehill/tune/tuned_table.h). tune() of moehill/tune/block_tuner.h
// decides which are the best.
//
//     moehill tune --preset olmoe-1b-7b --tokens 256 --bench-pass forward --budget 30s
#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"
#include "moehill/cli/block_command.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/cli/tune_options.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/machine/interruption.h"
#include "moehill/machine/memory.h"
#include "moehill/measure/memory_check.h"
#include "moehill/measure/terminal_report.h"
#include "moehill/predict/prediction.h"
#include "moehill/tune/block_candidates.h"
#include "moehill/tune/block_tuner.h"
#include "moehill/tune/tuned_table.h"

namespace moehill {
namespace {

constexpr int kMostOthers = 12;  // candidates besides the default
constexpr double kGuessedFraction =
    0.7;  // of the peak; it estimates the length of a step before one was timed

std::vector<Point> points_of(const Point& base, const std::vector<BlockSizes>& sets) {
  std::vector<Point> points;
  for (size_t i = 0; i < sets.size(); ++i) {
    Point point = base;
    point.config.block.blocks = sets[i];
    point.label = i == 0 ? "default" : fmt::format("set {}", i);
    points.push_back(point);
  }
  return points;
}

std::vector<BlockSizes> candidates_of(const TuneOptions& options, const Point& base,
                                      const Topology& topology) {
  if (!options.candidates.empty()) return options.candidates;
  BlockProblem problem;
  problem.shape = base.config.shape;
  problem.group_rows = static_cast<double>(problem.shape.assignments()) / problem.shape.experts;
  problem.tile_rows = gmm_tile_rows();
  problem.topology = topology;
  return block_candidates(problem, kMostOthers);
}

// Drops sets from the end until all fit into memory beside one another. The default is first, so it stays.
void fit_memory(const Point& base, std::vector<BlockSizes>& sets) {
  const double usable = 0.9 * static_cast<double>(available_memory_bytes());
  while (sets.size() > 2 && total_bytes(predict_points_memory(points_of(base, sets))) > usable)
    sets.pop_back();
}

// Returns the estimated seconds of a step, from the peak and a usual share of it. They only size the budget.
double guessed_step_seconds(const Point& base, Yardstick& yardstick) {
  const int num_threads = base.config.num_devices * base.config.threads_per_device;
  yardstick.watch({num_threads});
  for (int i = 0; i < 3; ++i) yardstick.measure_peaks();
  const MoeShape& shape = base.config.shape;
  return model_flops(shape, base.config.block.pass, shape.assignments()) / kGuessedFraction /
         yardstick.peaks({num_threads}).of(shape.dtype).best;
}

std::string set_name(const BlockSizes& blocks, size_t index) {
  if (index == 0) return "default";
  std::string text;
  for (const BlockSizeField& field : block_size_fields()) {
    if (blocks.*field.value == BlockSizes{}.*field.value) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", field.name, blocks.*field.value);
  }
  return text.empty() ? "default again" : text;
}

std::string candidate_table(const TunerResult& result, uint32_t seed) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < result.candidates.size(); ++i) {
    const TunedCandidate& c = result.candidates[i];
    const std::vector<double>& reference = result.candidates[0].samples;
    const bool timed = !reference.empty() && !c.samples.empty();
    const Ratio ratio = timed ? ratio_of_rounds(reference, c.samples, seed) : Ratio{};
    const std::string disagreement =
        timed ? disagreement_text(ratio, median_of(reference), median_of(c.samples)) : "";
    rows.push_back(
        {set_name(c.blocks, i), timed ? fmt::format("{:.2f}", 1e3 * median_of(c.samples)) : "-",
         std::to_string(c.samples.size()),
         timed ? fmt::format("{:.3f}{}", ratio.ratio, interval_text(ratio.interval, "{:.3f}")) : "-",
         fate_text(c) + disagreement});
  }
  return format_table({"blocks", "ms", "rounds", "speed to default", "what became of it"}, rows);
}

std::string outcome_line(const TunerResult& result) {
  const TunedCandidate& winner = result.candidates[result.winner];
  if (result.winner == 0) return "The default blocks stay: nothing else is faster beyond the noise.\n";
  return fmt::format("Fastest: {}, {:.3f}{} times the default's speed over {} of their own.\n",
                     set_name(winner.blocks, result.winner), result.gain.ratio,
                     interval_text(result.gain.interval, "{:.3f}"), count_text(result.gain.n, "round"));
}

// ProblemTuner tunes one problem after the other with the same options and threads.
class ProblemTuner {
 public:
  ProblemTuner(const TuneOptions& options, const Environment& environment, Yardstick& yardstick)
      : options_(options), environment_(environment), yardstick_(yardstick) {}

  // Tunes one point and keeps the winner. Returns false if the check failed even with the default blocks,
  // after printing the reason.
  bool run(const Point& base) {
    std::vector<BlockSizes> sets = candidates_of(options_, base, environment_.topology);
    fit_memory(base, sets);
    const double step = guessed_step_seconds(base, yardstick_);
    TunerBudget budget = plan_budget(options_.budget_s, step, sets.size());
    if (!options_.candidates.empty()) budget.num_candidates = sets.size();  // all that were asked for
    sets.resize(std::min(sets.size(), budget.num_candidates));
    const TunerResult result = tune(
        sets, budget,
        [&](const std::vector<BlockSizes>& some, int64_t rounds) { return measure(base, some, rounds); },
        options_.bench.seed);
    const std::string table = candidate_table(result, options_.bench.seed);
    if (result.candidates[0].fate == Fate::check_failed) {
      say(options_.bench, {}, table);
      return false;
    }
    std::string kept;
    write_and_show({[&] { kept = keep(base, result); }},
                   [&] { say(options_.bench, {}, outcome_line(result) + table + kept); });
    return true;
  }

  std::string path() const {
    return options_.table.empty() ? default_tuned_file(environment_) : options_.table;
  }

 private:
  // Measures the sets and returns the samples of each. Each phase makes new runs, so each phase checks every
  // set.
  std::vector<std::vector<double>> measure(const Point& base, const std::vector<BlockSizes>& sets,
                                           int64_t rounds) {
    BenchOptions bench = options_.bench;
    bench.schedule.iters = rounds;
    bench.check = CheckMode::sample;
    const CommandResult command = run_points(bench, points_of(base, sets), environment_, {}, yardstick_);
    if (command.interrupted_by != 0)
      throw Interrupted(command.interrupted_by, "no blocks are kept for this problem");
    say(bench, {}, check_lines(command));
    std::vector<std::vector<double>> samples;
    for (const PointResult& point : command.points) samples.push_back(point.samples);
    return samples;
  }

  // Keeps the winner in the table. Returns the line that says so.
  std::string keep(const Point& base, const TunerResult& result) {
    const Routing routing = routing_of(base.config.shape, base.distribution, options_.bench.seed,
                                       base.config.block.capacity.spares);
    const std::string key = tuned_key(base.config, routing);
    keep_tuned(path(), key,
               {result.candidates[result.winner].blocks, result.gain, environment_.topology.cpu_model,
                environment_.kernels_id, utc_now(), environment_.kernel});
    return fmt::format("kept in {}; bench takes it for this problem: {}\n", path(), key);
  }

  const TuneOptions& options_;
  const Environment& environment_;
  Yardstick& yardstick_;
};

}  // namespace

int tune_command(const std::vector<std::string>& args) {
  std::optional<TuneOptions> options = parse_tune_options(args);
  if (!options) return kExitDone;
  const Environment environment = adopt_environment(options->bench, {});
  std::vector<Point> points = expand_points(options->bench, environment.topology.num_cores);
  Yardstick yardstick(environment.topology.core_cpus);
  ProblemTuner tuner(*options, environment, yardstick);
  if (tuner.path().empty())
    throw input_error("--table", "no home folder to keep it in", "a file", "name one by --table");
  // Before anything runs, this refuses a file that is no table, or that could not be written at the end.
  read_tuned(tuner.path());
  make_folder_of("--table", tuner.path());
  require_writable_file("--table", tuner.path());
  say(options->bench, {}, predict_points(options->bench, environment, points).text);
  int status = kExitDone;
  for (const Point& point : points) {
    if (!tuner.run(point)) status = kExitCheckFailed;
  }
  return status;
}

}  // namespace moehill
