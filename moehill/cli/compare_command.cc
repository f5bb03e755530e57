// `moehill compare` says how much faster results B are than results A. It matches two sets of stored results
// point by point (moehill/report/matching.h), or runs two builds of the program in turn, or measures how far
// equal points differ on this machine (the noise floor). With --baseline it is a gate for regressions.
//
//     moehill compare after.jsonl --baseline before.jsonl --tolerance 3% --not-interleaved
//     moehill compare --builds ./moehill-before --tokens 256 --hidden 512 --mlp-dim 256
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/climb/builds.h"
#include "moehill/climb/noise_floor.h"
#include "moehill/machine/topology.h"
#include "moehill/measure/points.h"
#include "moehill/report/matching_report.h"

namespace moehill {
namespace {

// CompareOptions is what the command line fills.
struct CompareOptions {
  std::vector<std::string> sources;
  std::vector<std::string> bench_arguments;  // of --builds
  std::string baseline, tolerance, json, junit, database, builds, point = kFloorPoint;
  bool noise_floor = false, together = false, not_interleaved = false;
  std::optional<int64_t> rounds;
};

OptionSet compare_option_set(CompareOptions& o) {
  OptionSet set(
      "moehill compare A B",
      "Says how much faster results B are than results A. Each side is files of records with a comma "
      "between them, DATABASE, DATABASE:EXPERIMENT or DATABASE:EXPERIMENT/POINT. Results that were not "
      "measured in turn need five runs on each side. With --builds, B is this program and A another build "
      "of it; both run in turn, and options that are not listed here go to bench.",
      {"moehill compare \"book.sqlite:remat/remat_mode=none\" \"book.sqlite:remat/remat_mode=combine\"",
       "moehill compare after.jsonl --baseline before.jsonl --tolerance 3% --not-interleaved",
       "moehill compare --builds ./moehill-before --tokens 256 --hidden 512 --mlp-dim 256",
       "moehill compare --noise-floor --db book.sqlite"});
  set.text("--baseline", &o.baseline, "A",
           "results with which B is judged: exit status 4 if B is slower, 2 if that cannot be told");
  set.text("--tolerance", &o.tolerance, "PERCENT",
           "how much slower B may be, for example 3%; default: the noise floor");
  set.flag("--not-interleaved", &o.not_interleaved,
           "--baseline: also accept results of another time, if they are of the same machine");
  set.input("--builds", &o.builds, "BINARY",
            "run this build and that one in turn, each in a process of its own: the exit status is 4 where "
            "this one is slower");
  set.output("--json", &o.json, "FILE", "one comparison a line; - is standard output, without the table");
  set.output("--junit", &o.junit, "FILE",
             "the comparison as JUnit XML, where a regression is a failure (--tolerance)");
  set.flag(
      "--noise-floor", &o.noise_floor,
      "no comparison: run one point twice a round and store how far equal points differ on this machine");
  set.flag("--together", &o.together,
           "--noise-floor: both in one process, as process = \"round\" of an experiment file measures");
  set.output("--db", &o.database, "FILE",
             "--noise-floor: where to keep it; else $MOEHILL_DB, else ./moehill.sqlite");
  set.custom("--rounds", fmt::format("{}..10000", kFewRounds), fmt::format("20, or {}", kDefaultBuildRounds),
             "--noise-floor: pairs of runs; --builds: rounds of four runs", [&o](const std::string& text) {
               o.rounds = parse_integer("--rounds", text, kFewRounds, 10000);
             });
  set.text(
      "--point", &o.point, "OPTIONS",
      std::string("--noise-floor: options of bench as an experiment file names them, else ") + kFloorPoint);
  return set;
}

// Throws InputError for options that the chosen kind of comparison does not use.
void refuse_mixture(const OptionSet& set, const CompareOptions& o) {
  const bool stored = !o.noise_floor && o.builds.empty();
  const std::string mode = o.noise_floor ? "--noise-floor" : stored ? "stored results" : "--builds";
  std::vector<std::string> others;
  if (!o.noise_floor) others.insert(others.end(), {"--db", "--point", "--together"});
  if (stored) others.push_back("--rounds");
  if (!stored) others.insert(others.end(), {"--baseline", "--not-interleaved"});
  if (o.noise_floor) others.insert(others.end(), {"--tolerance", "--json", "--junit", "--builds"});
  for (const std::string& name : others) {
    if (set.given(name))
      throw usage_error(fmt::format("{} cannot be used with {}", name, mode), "leave one of the two out");
  }
  if (!stored && !o.sources.empty())
    throw usage_error(fmt::format("{} cannot be used with stored results, as {} is", mode, o.sources[0]),
                      "leave one of the two out");
  for (const char* of_gate : {"--tolerance", "--not-interleaved"}) {
    const bool of_junit = !o.junit.empty() && of_gate == std::string("--tolerance");
    if (stored && set.given(of_gate) && o.baseline.empty() && !of_junit)
      throw usage_error(fmt::format("{} needs --baseline", of_gate), "name A by --baseline");
  }
}

std::optional<CompareOptions> parse_compare_options(std::vector<std::string> args) {
  CompareOptions o;
  OptionSet set = compare_option_set(o);
  const auto names_builds = [](const std::string& arg) { return arg.substr(0, arg.find('=')) == "--builds"; };
  // With --builds, options that compare does not know are arguments for bench; they are taken out before
  // parsing.
  if (std::any_of(args.begin(), args.end(), names_builds)) o.bench_arguments = take_others(args, set.names());
  size_t first = 0;
  while (first < args.size() && first < 2 && args[first].rfind('-', 0) != 0)
    o.sources.push_back(args[first++]);
  if (!set.parse({args.begin() + static_cast<int64_t>(first), args.end()})) return std::nullopt;
  refuse_mixture(set, o);
  if (o.noise_floor || !o.builds.empty()) return o;
  if (!o.baseline.empty()) o.sources.insert(o.sources.begin(), o.baseline);
  if (o.sources.size() != 2) {
    throw input_error("compare", count_text(std::ssize(o.sources), "set") + " of results",
                      "A B, or B --baseline A", "name two, before the options");
  }
  refuse_source_as_output(o.sources, "--json", o.json);
  refuse_source_as_output(o.sources, "--junit", o.junit);
  return o;
}

void require_writable(const CompareOptions& o) {
  require_writable_json(o.json);
  if (!o.junit.empty()) require_writable_file("--junit", o.junit);
}

void write_files(const CompareOptions& o, const Matching& matching, double tolerance) {
  std::string lines;
  for (const MatchedPair& pair : matching.pairs) lines += json_text(pair_json(pair)) + "\n";
  const auto write_junit = [&] {
    if (!o.junit.empty()) write_text_file(o.junit, matching_junit(matching, tolerance));
  };
  write_and_show({[&] { write_json_lines(o.json, lines); }, write_junit}, [] {});
}

// Says or refuses what cannot be judged. A gate must not pass because it could not tell. So with a gate this
// function throws, unless a regression is shown anyway. Without a gate it throws only if nothing could be
// compared.
void refuse_undecided(const CompareOptions& o, const Matching& matching,
                      const std::vector<std::string>& lost) {
  const std::vector<std::string> open = unjudged(matching);
  const bool gate = !o.baseline.empty();
  if (open.empty() || (gate ? !lost.empty() : !matching.pairs.empty())) {
    for (const std::string& line : open) tell(fmt::format("not judged: {}", line));
    if (!open.empty()) tell(remedy_of(matching));
    return;
  }
  throw input_error(gate ? "--baseline" : "compare", fmt::format("{}", fmt::join(open, "; ")),
                    "pairs that can be judged", remedy_of(matching));
}

// Throws InputError if the runs of a pair are of several machines. --not-interleaved accepts results of
// another time but not of another machine, because a faster machine would hide a regression.
void refuse_other_machines(const Matching& matching) {
  for (const MatchedPair& pair : matching.pairs) {
    if (pair.of_several_machines())
      throw input_error(
          "--baseline",
          fmt::format("{}, whose runs and those of A are not of one machine ({})", pair.label_b,
                      fmt::join(matching.unlike, "; ")),
          "results of one CPU model and number of cores, since a faster machine hides a regression",
          "measure both on one machine, by moehill compare --builds OTHER_BINARY or into files "
          "of their own");
  }
}

// Throws InputError if a pair was not measured in turn, since a machine is not equally fast at every hour.
void refuse_other_times(const Matching& matching) {
  for (const MatchedPair& pair : matching.pairs) {
    if (!pair.ratio.paired)
      throw input_error("--baseline", pair.label_b + ", which was not measured in turn with A",
                        "results of one sweep, since a machine is not as fast in every hour",
                        "run moehill compare --builds OTHER_BINARY, or accept them by --not-interleaved");
  }
}

// Returns the arguments of bench for the options of a point.
std::vector<std::string> arguments_of_point(const std::string& text) {
  std::vector<std::string> arguments;
  for (const auto& [name, value] : options_of_point(text)) arguments.push_back(argument_of(name, value));
  std::erase(arguments, "");
  return arguments;
}

// Throws InputError for arguments that bench would refuse, before anything runs, for output files, because
// each run would overwrite them, and for --checked, which later runs get anyway.
void refuse_outputs(const std::string& option, const std::vector<std::string>& arguments) {
  const std::optional<BenchOptions> o = parse_bench_options(arguments);
  if (o && !o->checked.empty())
    throw usage_error(fmt::format("--checked cannot be used with {}, whose runs take over what their first "
                                  "ones have checked",
                                  option),
                      "leave it out");
  if (!o || !o->ablations.empty() || !o->json.empty() || !o->dump.empty() || !o->trace_dir.empty() ||
      !o->save_routing.empty() || !o->export_csv.empty() || !o->export_json.empty() ||
      !o->export_markdown.empty())
    throw input_error(option, quoted(fmt::format("{}", fmt::join(arguments, " "))),
                      "options of bench that write no files and leave nothing out",
                      "leave out --json, --export-*, --dump, --trace-dir, --save-routing and --ablate");
}

// Throws InputError for options that give several results, since a noise floor compares a point with itself.
void refuse_several_points(const std::vector<std::string>& arguments) {
  const BenchOptions o = parse_bench_options(arguments).value();
  const size_t num = expand_points(o, detect_topology().num_cores).size();
  if (num == 1) return;
  throw input_error("--point", fmt::format("{} points", num), "one point",
                    "name one impl, parallel_mode, distribution, queue_mode and topk");
}

// Returns the absolute path of the program. Runs are started without a shell, so nothing searches $PATH.
std::string require_program(const std::string& path) {
  if (is_plain_file(path) && access(path.c_str(), X_OK) == 0) return std::filesystem::absolute(path).string();
  throw input_error("--builds", quoted(path), "the path of a program that may be run",
                    "build it, or name its path");
}

TurnOptions turn_options(int64_t rounds) { return {.rounds = rounds, .show = show_progress, .tell = tell}; }

// Runs both builds in turn. Neither uses tuned blocks, since they may have been tuned for one of them.
int compare_two_builds(const CompareOptions& o) {
  const double tolerance = o.tolerance.empty() ? 0 : parse_percent("--tolerance", o.tolerance, 0, 99);
  refuse_outputs("--builds", o.bench_arguments);
  require_writable(o);
  const std::string other = require_program(o.builds);
  warn_if_busy(detect_topology().num_cores);
  setenv("MOEHILL_TUNED", "off", 1);
  try {
    const BuildsComparison c =
        compare_builds(other, o.bench_arguments, turn_options(o.rounds.value_or(kDefaultBuildRounds)));
    if (c.interrupted && c.rounds == 0) {
      tell("interrupted before a round was complete: nothing is compared and written");
      return kExitInterrupted;
    }
    show(builds_table(c), table_stream(o.json));
    write_files(o, c.matching, tolerance);
    if (c.interrupted) {
      tell(fmt::format("interrupted: the comparison is of the {}", count_text(c.rounds, "complete round")));
      return kExitInterrupted;
    }
    const std::vector<std::string> lost = regressions(c.matching, tolerance);
    for (const std::string& line : lost) tell(fmt::format("regression: {}", line));
    return lost.empty() ? kExitDone : kExitRegression;
  } catch (const TurnFailed& failure) {
    tell(fmt::format("moehill: {}", failure.what()));
    return failure.status();
  }
}

// Throws InputError if nothing can be stored there. It makes no new database, since an interrupted
// measurement would leave an empty one behind.
void require_place_of_store(const std::string& database) {
  std::error_code ignored;
  if (std::filesystem::exists(database, ignored))
    Store::open_or_create(database);
  else
    require_writable_file("--db", database);
}

int store_noise_floor(const CompareOptions& o) {
  const std::vector<std::string> arguments = arguments_of_point(o.point);
  refuse_outputs("--point", arguments);
  refuse_several_points(arguments);
  const std::string database = database_path(o.database);
  require_place_of_store(database);
  warn_if_busy(detect_topology().num_cores);
  const std::optional<StoredNoiseFloor> floor =
      measure_noise_floor(arguments, o.together, turn_options(o.rounds.value_or(20)));
  if (!floor) {
    tell("interrupted: no noise floor is stored; start the same command again");
    return kExitInterrupted;
  }
  Store::open_or_create(database).add_noise_floor(*floor);
  show(noise_floor_text(*floor));
  return kExitDone;
}

}  // namespace

int compare_command(const std::vector<std::string>& args) {
  const std::optional<CompareOptions> o = parse_compare_options(args);
  if (!o) return kExitDone;
  if (o->noise_floor) return store_noise_floor(*o);
  if (!o->builds.empty()) return compare_two_builds(*o);
  require_writable(*o);
  const double tolerance = o->tolerance.empty() ? 0 : parse_percent("--tolerance", o->tolerance, 0, 99);
  const ResultSet a = read_results(o->sources[0]), b = read_results(o->sources[1]);
  const Matching matching = match_results(a, b);
  // A comparison with no pair at all is a mistake in the names, not a result.
  if (matching.pairs.empty() && matching.missing.empty()) {
    throw input_error("compare", "no result of A that matches one of B",
                      "points whose options agree, except those that tell the two sets apart",
                      "name single points as DATABASE:EXPERIMENT/POINT");
  }
  if (!o->baseline.empty()) refuse_other_machines(matching);
  if (!o->baseline.empty() && !o->not_interleaved) refuse_other_times(matching);
  std::vector<std::string> lost;
  if (!o->baseline.empty()) lost = regressions(matching, tolerance);
  if (o->json != "-") show(notes_of(a) + notes_of(b) + matching_table(matching));
  refuse_undecided(*o, matching, lost);
  write_files(*o, matching, tolerance);
  for (const std::string& line : lost) tell(fmt::format("regression: {}", line));
  return lost.empty() ? kExitDone : kExitRegression;
}

}  // namespace moehill
