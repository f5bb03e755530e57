// `moehill sweep` plans the points of an experiment file, runs them round by round, each in a process of its
// own unless the file says otherwise, and stores every result. A sweep that is started again continues.
// make_plan() plans and run_sweep() runs (moehill/experiments).
//
//     moehill sweep experiments/reference/ep_vs_none.toml --dry-run
//     moehill sweep experiments/reference/ep_vs_none.toml --budget 5m --db book.sqlite
#include <fmt/format.h>

#include <unistd.h>
#include <cstdlib>

#include <algorithm>
#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/cli/sweep_host.h"
#include "moehill/experiments/driver.h"
#include "moehill/experiments/other_results.h"
#include "moehill/experiments/sizing.h"
#include "moehill/report/sweep_summary.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

// SweepOptions is what the command line fills.
struct SweepOptions {
  std::vector<std::string> files;  // more than one only with dry_run
  std::string database;
  SizingRequest sizing;
  bool dry_run = false, retry_failed = false, print_template = false, list = false;
};

OptionSet sweep_option_set(SweepOptions& o) {
  OptionSet set(
      "moehill sweep FILE",
      "Runs every point of an experiment file (TOML), round by round, each in a process of its own unless "
      "the file says otherwise, and stores every result. A sweep that is started again continues.",
      {"moehill sweep experiments/reference/ep_vs_none.toml --dry-run",
       "moehill sweep experiments/reference/ep_vs_none.toml --budget 5m",
       "moehill sweep experiments/reference/ep_vs_none.toml --scale 0.125 --db book.sqlite"});
  set.text("--db", &o.database, "FILE", "results database; else $MOEHILL_DB, else ./moehill.sqlite");
  set.text("--budget", &o.sizing.budget, "TIME",
           "90s, 10m, 2h: take fewer tokens and rounds, so that the sweep takes about this long");
  set.text("--scale", &o.sizing.scale, "full|SHARE",
           "share of the file's tokens, above 0 up to 1; full: all");
  set.integer("--rounds", &o.sizing.rounds, 0, 1000, "rounds in place of the file's; 0: the file's");
  set.flag(
      "--dry-run", &o.dry_run,
      "list the points with predicted time and memory, of several files one after the other; run and store "
      "nothing");
  set.flag("--template", &o.print_template, "print an experiment file to begin with, and nothing else");
  set.flag("--list", &o.list, "list the experiments of the database, and nothing else");
  set.flag("--retry-failed", &o.retry_failed,
           "run points again that have failed as often as the file allows");
  return set;
}

std::optional<SweepOptions> parse_sweep_options(const std::vector<std::string>& args) {
  SweepOptions options;
  OptionSet set = sweep_option_set(options);
  const auto first =
      std::find_if(args.begin(), args.end(), [](const std::string& arg) { return arg.rfind('-', 0) == 0; });
  options.files = {args.begin(), first};
  if (!set.parse({first, args.end()})) return std::nullopt;
  if (options.print_template || options.list) {
    if (args.size() > (options.list && !options.database.empty() ? 3 : 1))
      throw usage_error(fmt::format("{} stands alone{}", options.list ? "--list" : "--template",
                                    options.list ? ", or with --db" : ""),
                        "leave the others out");
    return options;
  }
  if (options.files.size() != 1 && !(options.dry_run && !options.files.empty()))
    throw input_error("sweep",
                      options.files.empty() ? "no experiment file"
                                            : fmt::format("{} experiment files", options.files.size()),
                      "one, or several with --dry-run",
                      "name it before the options: moehill sweep FILE.toml --dry-run");
  options.sizing.require_sense();
  if (options.dry_run && options.retry_failed)
    throw usage_error("--retry-failed cannot be used with --dry-run, which runs nothing", "leave it out");
  return options;
}

// Returns the command that continues this sweep, to print after an interruption.
std::string resuming_line(const SweepOptions& o, const std::string& database) {
  return "moehill sweep " + shell_word(o.files[0]) + " --db " + shell_word(database) +
         sizing_options(o.sizing);
}

// Prints the summary of the sweep and what to do next. Returns the exit status.
int finish(Store& store, const SweepOptions& options, const SweepPlan& plan, const SweepOutcome& outcome) {
  show_progress("");
  for (const ExperimentView& view : load_views(store, {})) {
    if (view.experiment.name == plan.experiment.name) show(sweep_summary(view));
  }
  const SweepCounts& counts = outcome.counts;
  show(fmt::format("{} of {} done, {} failed; {} now, {} of them again for a disturbed one; {} disturbed\n",
                   counts.done, count_text(counts.points, "point"), counts.failed,
                   count_text(counts.started, "run"), counts.repeated,
                   count_text(counts.disturbed, "result")));
  if (outcome.end == SweepEnd::interrupted) {
    show(fmt::format("interrupted; go on with: {}\n",
                     resuming_line(options, database_path(options.database))));
    return kExitInterrupted;
  }
  show(fmt::format("next: moehill report --db {} -o report.html\n",
                   shell_word(database_path(options.database))));
  if (outcome.check_failed) return kExitCheckFailed;
  return counts.failed > 0 ? kExitRunFailed : kExitDone;
}

SweepPlan plan_and_show(const SweepOptions& o, const std::string& path, const SweepHost& host) {
  const ExperimentFile file = read_experiment(path, sweep_option_names);
  const Sizing sizing = choose_sizing(o.sizing, database_path(o.database), file, host);
  SweepPlan plan = make_plan(file, host, sizing);
  plan.experiment.sizing = kept_sizing(o.sizing, host, plan, sizing);
  show(fmt::format("{}: {}\n", printable(plan.experiment.name), printable(plan.experiment.title)));
  if (!plan.experiment.options_note.empty()) show(printable(plan.experiment.options_note) + "\n");
  if (o.dry_run) show(plan_table(plan));
  return plan;
}

}  // namespace

int sweep_command(const std::vector<std::string>& args) {
  const std::optional<SweepOptions> options = parse_sweep_options(args);
  setenv("MOEHILL_TUNED", "off", 1);  // each point is its options only, so a tuned table must not change it
  if (!options) return kExitDone;
  if (options->print_template) {
    show(experiment_template());
    return kExitDone;
  }
  if (options->list) {
    Store store = Store::open_existing(database_path(options->database));
    show(list_experiments(load_views(store, {})));
    return kExitDone;
  }
  for (const std::string& file : options->files) read_experiment(file, sweep_option_names);  // bad ones first
  const Environment environment = detect_environment();
  const SweepHost host = make_sweep_host(
      environment, RunPredictor(probed_hardware(environment),
                                measure_speed(environment.topology, environment.topology.num_cores)));
  SweepPlan plan = plan_and_show(*options, options->files[0], host);
  if (options->dry_run) {
    for (size_t i = 1; i < options->files.size(); ++i) plan_and_show(*options, options->files[i], host);
    show(fmt::format("times predicted {}\n", host.prediction_source));
    return kExitDone;
  }
  Store store = Store::open_or_create(database_path(options->database));
  warn_if_busy(environment.topology.num_cores);
  tell(other_results_note(store, experiments_named(store, plan.experiment.name), host));
  tell(estimate_words(plan.predicted_seconds(),
                      points_and_rounds(plan.points.size(), plan.experiment.rounds)));
  DriverOptions driver;
  driver.show = show_run;
  driver.retry_failed = options->retry_failed;
  if (!options->sizing.budget.empty())
    driver.stop_after_seconds = parse_duration("--budget", options->sizing.budget);
  const SweepOutcome outcome = run_sweep(store, plan, host, driver);
  return finish(store, *options, plan, outcome);
}

}  // namespace moehill
