// `moehill climb` searches for the fastest configuration of a problem on this machine. One process takes the
// steps of all configurations of a round in turn, or each configuration has a process of its own where that
// cannot be (moehill/climb/move_runner.h). The winner is compared with the first configuration in processes
// of their own. Climber (moehill/climb/climber.h) does the search. A climb that is started again continues.
//
//     moehill climb --preset qwen1.5-moe-a2.7b --tokens 2048 --budget 20m
//     moehill bench --preset qwen1.5-moe-a2.7b --tokens 2048 --climbed   # uses what was found
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/cli/sweep_host.h"
#include "moehill/climb/climb_report.h"
#include "moehill/climb/climbed_table.h"
#include "moehill/climb/moves.h"
#include "moehill/experiments/matrix.h"
#include "moehill/experiments/other_results.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/quiet/environment.h"
#include "moehill/store/store.h"
#include "moehill/tune/block_candidates.h"

namespace moehill {
namespace {

constexpr int kBlockSets = 4;  // this many, beside the default blocks

// ClimbCommand is what the command line fills.
struct ClimbCommand {
  ClimbOptions climb;
  std::string file, database, budget = "30m", worth = "2%";
  int64_t memory = 0;
  bool dry_run = false;
};

OptionSet climb_option_set(ClimbCommand& o) {
  OptionSet set(
      "moehill climb [FILE]",
      "Searches for the fastest configuration of a problem: impl, backend, path, devices x threads, blocks "
      "and more. Configurations (arms) race in rounds, in which one process takes a step of each in turn. "
      "Options of bench that you give are kept. A run takes 5 steps of each arm at least, and 0.02 s of "
      "steps; --iters and --min-time change that. At the end, arms that may still gain more than --worth "
      "race once more, as long as the budget lasts. FILE is an experiment file, whose [fixed] options are "
      "taken. For an axis of FILE that climb does not search, give the option with one value. A climb that "
      "is started again continues.",
      {"moehill climb --preset qwen1.5-moe-a2.7b --tokens 2048 --budget 20m",
       "moehill climb --tokens 256 --hidden 512 --mlp-dim 256 --experts 8 --topk 2 --dry-run",
       "moehill climb --preset olmoe-1b-7b --tokens 512 --bench-pass forward --memory 4G --db climb.sqlite"});
  set.text("--budget", &o.budget, "TIME", "90s, 10m, 2h: time from the start to the end of the climb");
  set.text("--worth", &o.worth, "PERCENT", "smallest gain in speed that is worth a search");
  set.size("--memory", &o.memory, 0, int64_t{1} << 50,
           "most memory that a run may take; 0: all that is available");
  set.output("--db", &o.database, "FILE", "results database; else $MOEHILL_DB, else ./moehill.sqlite");
  set.flag("--dry-run", &o.dry_run,
           "list the first moves with what the model expects; run and store nothing");
  return set;
}

// Throws InputError for options that the search sets itself or whose output no one would see.
void refuse_useless(const StoredJson& base) {
  for (const char* name :
       {"json", "dump", "trace_dir", "save_routing", "climbed", "check", "checked", "mesh", "timeout",
        "table", "ablate", "filter", "parameter_list", "export_csv", "export_json", "export_markdown"})
    if (base.contains(name))
      throw usage_error(
          fmt::format(
              "{} cannot be used with climb, which checks each run and keeps its record in the database",
              option_name(name)),
          "leave it out");
}

// Throws InputError for an experiment file that asks more than a climb answers: several problems, runs of a
// launcher, or another command. Options that are `given` stand in for axes of the file.
void refuse_other_questions(const ExperimentFile& file, const StoredJson& given) {
  for (const std::string& axis : file.axis_names()) {
    if (is_moved(axis) || given.contains(axis)) continue;
    throw input_error(file.place_of(axis), fmt::format("the axis {}", moehill::quoted(axis)),
                      "axes that a climb moves, since it climbs a single problem",
                      fmt::format("choose one of the values by {}", option_name(axis)));
  }
  if (!file.launcher.empty() || file.command != SweptCommand::bench)
    throw input_error(file.path, file.launcher.empty() ? "another command" : "a launcher",
                      "the command bench in one process, whose devices are threads",
                      "leave it out of the file");
}

// Returns the command as a shell takes it.
std::string command_of(const std::vector<std::string>& args) {
  std::string text = "moehill climb";
  for (const std::string& arg : args) text.append(" ").append(shell_word(arg));
  return text;
}

std::optional<ClimbCommand> parse_climb(std::vector<std::string> args) {
  ClimbCommand o;
  OptionSet set = climb_option_set(o);
  o.climb.command = command_of(args);
  if (!args.empty() && args[0].rfind('-', 0) != 0) {
    o.file = args[0];
    if (o.file.empty())
      throw input_error("climb", "an empty name", "an experiment file", "name one, or leave it out");
    args.erase(args.begin());
  }
  // Options that are not the search's own belong to bench and define the problem.
  const std::vector<std::string> of_bench =
      take_others(args, {"--budget", "--worth", "--memory", "--db", "--dry-run"});
  if (!set.parse(args)) return std::nullopt;
  if (o.dry_run && set.given("--db"))
    throw usage_error("--db cannot be used with --dry-run, which stores nothing", "leave one of the two out");
  const StoredJson given = given_bench_options(of_bench);
  if (!o.file.empty()) {
    const ExperimentFile file = read_experiment(o.file, sweep_option_names);
    refuse_other_questions(file, given);
    o.climb.base = file.fixed;
  }
  o.climb.base.update(given);
  refuse_useless(o.climb.base);
  // A race has many short runs. Before each step caches are emptied, which takes far longer than the step of
  // a small problem, so seconds of steps would take most of the budget. The rounds repeat anyway.
  if (!o.climb.base.contains("iters")) o.climb.base["iters"] = 5;
  if (!o.climb.base.contains("min_time")) o.climb.base["min_time"] = 0.02;
  o.climb.budget_s = parse_duration("--budget", o.budget);
  o.climb.worth = parse_percent("--worth", o.worth, 0.1, 50);
  if (o.memory > 0) o.climb.memory_bytes = static_cast<double>(o.memory);
  return o;
}

// Returns the block sizes to try, as moehill tune would choose them; the default is the first.
std::vector<std::string> block_sets(const StoredJson& options, const Topology& topology) {
  const BenchOptions bench = parse_bench_options(arguments_of(options)).value();
  BlockProblem problem;
  problem.shape = expand_points(bench, topology.num_cores)[0].config.shape;
  problem.group_rows = static_cast<double>(problem.shape.assignments()) / problem.shape.experts;
  problem.tile_rows = gmm_tile_rows();
  problem.topology = topology;
  std::vector<std::string> sets;
  for (const BlockSizes& blocks : block_candidates(problem, kBlockSets)) sets.push_back(to_string(blocks));
  return sets;
}

// Refuses a table that is none, or a file that is named for it and cannot be written, before anything runs.
void refuse_bad_table(const Environment& environment) {
  read_climbed(default_climbed_file(environment));
  const char* named = std::getenv("MOEHILL_CLIMBED");
  if (named == nullptr || *named == '\0') return;
  make_folder_of("MOEHILL_CLIMBED", named);
  require_writable_file("MOEHILL_CLIMBED", named);
}

// Keeps the winner for `bench --climbed`, in this user's file for this CPU model, and says whether it did. A
// home folder that cannot be written is no failure of the climb, whose results are in the database.
void keep_winner(const ClimbOutcome& outcome, const ClimbOptions& options, const Environment& environment) {
  const std::string path = default_climbed_file(environment);
  std::string why_not = path.empty() ? "there is no home folder; name a file by MOEHILL_CLIMBED"
                                     : why_not_to_keep(outcome, options);
  try {
    // The first configuration names the problem, since bench looks it up before it knows the winner.
    if (why_not.empty())
      why_not = keep_climbed(path, problem_key(outcome.first.resolved.options, options.base),
                             climbed_entry(outcome, options, environment));
  } catch (const std::runtime_error& error) {
    why_not = error.what();
  }
  show(why_not.empty()
           ? fmt::format("kept in {}: moehill bench --climbed takes it, with the options given here\n", path)
           : fmt::format("not kept for moehill bench --climbed: {}\n", why_not));
}

}  // namespace

int climb_command(const std::vector<std::string>& args) {
  const std::optional<ClimbCommand> o = parse_climb(args);
  if (!o) return kExitDone;
  setenv("MOEHILL_TUNED", "off",
         1);  // each configuration is its options only, so a tuned table must not change it
  const Environment environment = detect_environment();
  const SweepHost host = make_sweep_host(
      environment, RunPredictor(probed_hardware(environment),
                                measure_speed(environment.topology, environment.topology.num_cores)));
  // The climb asks for block sizes only when it reaches that axis, since they depend on the options chosen by
  // then.
  const ClimbSpace space{environment.topology.num_cores, [&](const StoredJson& options) {
                           return block_sets(options, environment.topology);
                         }};
  Climber climber(host, space, o->climb);
  if (o->dry_run) {
    show(plan_text(climber.plan(), host.prediction_source));
    return kExitDone;
  }
  refuse_bad_table(environment);
  Store store = Store::open_or_create(database_path(o->database));
  warn_if_busy(environment.topology.num_cores);
  tell(other_results_note(store, experiments_by(store, o->climb.command), host));
  tell(estimate_words(o->climb.budget_s, "at most, by --budget"));
  const ClimbOutcome outcome = climber.run(store, show_run);
  show_progress("");
  show(climb_text(outcome, o->climb));
  if (outcome.end == ClimbEnd::interrupted) {
    show(fmt::format("interrupted; go on with: {}\n", o->climb.command));
    return kExitInterrupted;
  }
  if (outcome.end == ClimbEnd::check_failed || outcome.end == ClimbEnd::last_check_failed)
    return kExitCheckFailed;
  if (outcome.end == ClimbEnd::run_failed) return kExitRunFailed;
  if (outcome.not_kept.empty()) keep_winner(outcome, o->climb, environment);
  return kExitDone;
}

}  // namespace moehill
