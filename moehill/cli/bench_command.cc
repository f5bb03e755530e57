// `moehill bench` checks and times one or several points of a Mixture-of-Experts block. This file is the
// sequence of the command: resolve the options, refuse what cannot run, predict, check and time, print and
// record. The rooms predict and measure do the work; moehill/moe/check.h says what is checked.
//
//     moehill bench --tokens 256 --topk-list 2,8 --parallel-mode both --json out.jsonl
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/block_command.h"
#include "moehill/cli/commands.h"
#include "moehill/climb/climbed_table.h"
#include "moehill/climb/moves.h"
#include "moehill/experiments/matrix.h"
#include "moehill/machine/memory.h"
#include "moehill/measure/ablation_arms.h"
#include "moehill/measure/auto_tokens.h"
#include "moehill/measure/checked_results.h"
#include "moehill/measure/loading.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/terminal_report.h"
#include "moehill/predict/pick_score.h"
#include "moehill/predict/prediction.h"
#include "moehill/predict/sweep_prediction.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

// Returns the number of tokens with which the run takes about two minutes, from a measurement of these cores'
// speed. The first process of a job measures for all.
int64_t measured_tokens(const BenchOptions& options, const Topology& topology) {
  const int num_cores = topology.num_cores;
  const Layout layout = resolve_layout(options, num_cores);
  const int num_threads = std::min(num_cores, layout.num_devices * layout.threads_per_device);
  const MachineSpeed speed = measure_speed(topology, num_threads);
  const auto points_of = [&](int64_t tokens) {
    BenchOptions sized = options;
    sized.shape.tokens = tokens;
    return expand_points(sized, num_cores);
  };
  const double usable = 0.9 * static_cast<double>(available_memory_bytes());
  return choose_tokens(points_of, options.schedule.warmup + options.schedule.iters, speed, usable);
}

// Replaces `--tokens auto` by a number, which is the same in every process.
void resolve_tokens(BenchOptions& options, const Job& job, const Topology& topology) {
  if (!options.tokens_auto) return;
  double chosen = 0;
  job.on_root([&] { chosen = static_cast<double>(measured_tokens(options, topology)); });
  options.shape.tokens = static_cast<int64_t>(job.largest(chosen));
  say(options, job,
      fmt::format("--tokens auto: {}, for two minutes at the measured peak\n",
                  count_text(options.shape.tokens, "token")));
}

// Predicts every point on the first process. If the path is `auto`, the prediction chooses it, and the other
// processes take over that choice, because all processes must run the same path.
BenchPredictions predict_everywhere(const BenchOptions& options, const Environment& environment,
                                    const Job& job, std::vector<Point>& points) {
  BenchPredictions predictions;
  std::string spreads;
  job.on_root([&] {
    predictions = predict_points(options, environment, points);
    for (const Point& point : points) spreads += std::string(name_of(point.config.spread)) + "\n";
  });
  std::istringstream chosen(job.from_root(spreads));
  for (Point& point : points) {
    std::string name;
    chosen >> name;
    point.config.spread = value_named<Spread>(name).value();
  }
  return predictions;
}

// Prepared is what the command knows before it measures anything.
struct Prepared {
  BenchOptions options;
  Environment environment;
  std::string climbed;  // a line for eyes, or empty
};

// Returns the arguments, in which the options that `moehill climb` found for their problem replace --climbed.
// `note` receives a line that names these options.
std::vector<std::string> with_climbed(std::vector<std::string> args, const BenchOptions& options,
                                      const Environment& environment, std::string& note) {
  if (options.tokens_auto)
    throw usage_error("--tokens auto cannot be used with --climbed, which looks the problem up by its tokens",
                      "give a number");
  const std::vector<Point> points = expand_points(options, environment.topology.num_cores);
  if (points.size() > 1)
    throw input_error("--climbed", fmt::format("{} points", points.size()), "one", "name single values");
  const std::string key =
      problem_key(json_of(recorded_config(options, points[0])), given_bench_options(args));
  const ClimbedEntry entry = require_climbed(default_climbed_file(environment), key, environment);
  require_moved(entry.options, default_climbed_file(environment));
  const std::vector<std::string> found = arguments_of(entry.options);
  args.erase(std::find(args.begin(), args.end(), "--climbed"));
  args.insert(args.end(), found.begin(), found.end());
  note = fmt::format("climbed: {}, found on {} to be {:.3f} times as fast as what that climb began with\n",
                     found.empty() ? "no other options" : fmt::format("{}", fmt::join(found, " ")),
                     entry.time_utc, entry.gain);
  return args;
}

// Does everything that can be refused before anything is measured. Returns nothing if help was printed.
std::optional<Prepared> prepare(const std::vector<std::string>& args, const Job& job) {
  std::optional<BenchOptions> options = parse_bench_options(args);
  if (!options) return std::nullopt;
  Environment environment = adopt_environment(*options, job);
  std::string climbed;
  // Only resolved options name the problem that was climbed. So the arguments are parsed first without the
  // options that the climb found, and then a second time with them.
  if (options->climbed) {
    options = parse_bench_options(with_climbed(args, *options, environment, climbed));
    environment = adopt_environment(*options, job);
  }
  // This call only refuses impossible ablations early; its result is made again when the points are run.
  if (!options->tokens_auto)
    with_ablations(expand_points(*options, environment.topology.num_cores), options->ablations);
  open_weights(*options);
  if (!options->checked.empty())
    options->checked_results = std::make_shared<const CheckedResults>(options->checked);
  if (job.is_root()) require_writable_outputs(*options, environment);
  return Prepared{*options, environment, climbed};
}

// Prints what was found, and adds it to what is known of the model's error.
void show_results(const BenchOptions& options, const Job& job, const CommandResult& command) {
  say(options, job,
      answer_line(command, options.seed) + result_table(command, options.seed) + overlap_lines(command) +
          routing_lines(command) + loading_line(options) + stage_table(command) + ablation_tables(command) +
          "\nHow sure this is:\n" + verdict_lines(command, options.seed) + check_lines(command) +
          machine_lines(command) + prediction_lines(command) + next_line(command, options.seed));
  if (!options.save_routing.empty())
    say(options, job, fmt::format("routing saved: --distribution {}\n", replay_text(options.save_routing)));
  const std::string failure = append_scores(scored_runs(options, command), default_score_file());
  if (!failure.empty()) say(options, job, failure + "\n");
}

}  // namespace

int bench_command(const std::vector<std::string>& args, const Job& job) {
  std::optional<Prepared> prepared = job.together([&] { return prepare(args, job); });
  if (!prepared) return kExitDone;
  BenchOptions& options = prepared->options;
  const Topology& topology = prepared->environment.topology;
  Yardstick yardstick(topology.core_cpus, job);
  for (const std::string& note : options.model_notes) say(options, job, "model: " + note + "\n");
  say(options, job, prepared->climbed);
  resolve_tokens(options, job, topology);
  // From here on every process works on the same points: the processes agree on predictions, tuned blocks and
  // large references.
  std::string left_out;
  std::vector<Point> points =
      without_large_references(expand_points(options, topology.num_cores), job, options.check, left_out);
  const BenchPredictions predictions = predict_everywhere(options, prepared->environment, job, points);
  const std::string tuned = adopt_tuned(options, prepared->environment, job, points);
  CommandResult command =
      run_points(options, options.overlap ? with_parts(points) : with_ablations(points, options.ablations),
                 prepared->environment, job, yardstick, left_out + predictions.text + tuned);
  take_overlaps(command);
  take_ablations(command);
  int status = kExitDone;
  // Only the first process has all results; it alone writes, prints and scores.
  job.on_root([&] {
    for (size_t i = 0; i < points.size(); ++i) command.points[i].prediction = predictions.points[i];
    write_outputs(options, command, [&] { show_results(options, job, command); });
    status = exit_status(command);
  });
  return static_cast<int>(job.largest(status));
}

}  // namespace moehill
