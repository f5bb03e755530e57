// `moehill compare`: two sets of results matched point by point, with verdicts and a gate for regressions;
// and the noise floor that the verdicts use.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/noise_floor.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/report/matching.h"

namespace moehill {
namespace {

struct CompareOptions {
  std::vector<std::string> sources;
  std::string baseline, tolerance, json, database, point = kFloorPoint;
  bool noise_floor = false;
  int64_t rounds = 20;
};

OptionSet compare_option_set(CompareOptions& o) {
  OptionSet set(
      "moehill compare A B",
      "How much faster B is than A. Each is files of records with a comma between them, DATABASE, "
      "DATABASE:EXPERIMENT or DATABASE:EXPERIMENT/POINT. What was not measured in turn needs five runs on "
      "each side.",
      {"moehill compare \"book.sqlite:remat/remat_mode=none\" \"book.sqlite:remat/remat_mode=combine\"",
       "moehill compare after.jsonl --baseline before.jsonl --tolerance 3%",
       "moehill compare --noise-floor --db book.sqlite"});
  set.text("--baseline", &o.baseline, "A",
           "the results to hold B to: the exit status is 4 on a regression, 2 where it cannot be told");
  set.text("--tolerance", &o.tolerance, "PERCENT", "how much slower B may be, for example 3%; default 0%");
  set.output("--json", &o.json, "FILE", "one comparison a line; - is standard output, without the table");
  set.flag(
      "--noise-floor", &o.noise_floor,
      "no comparison: run one point twice a round and store how far equal points differ on this machine");
  set.output("--db", &o.database, "FILE", "--noise-floor: where; else $MOEHILL_DB, else ./moehill.sqlite");
  set.integer("--rounds", &o.rounds, kFewRounds, 10000, "--noise-floor: pairs of runs");
  set.text(
      "--point", &o.point, "OPTIONS",
      std::string("--noise-floor: options of bench as an experiment file names them, else ") + kFloorPoint);
  return set;
}

double parse_tolerance(const std::string& text) {
  if (text.empty()) return 0;
  const bool percent = text.back() == '%';
  if (!percent)
    throw input_error("--tolerance", quoted(text), "a number with %, such as 3%", "write the % sign");
  return parse_number("--tolerance", text.substr(0, text.size() - 1), 0, 99) / 100;
}

void refuse_mixture(const OptionSet& set, const CompareOptions& o) {
  const std::vector<std::string> of_floor = {"--db", "--rounds", "--point"},
                                 of_comparison = {"--baseline", "--tolerance", "--json"};
  for (const std::string& name : o.noise_floor ? of_comparison : of_floor) {
    if (!set.given(name)) continue;
    const std::string with = o.noise_floor ? "it with --noise-floor" : "it without --noise-floor";
    throw input_error(name, with, "nothing of it here", "leave one of them out");
  }
  if (o.noise_floor && !o.sources.empty())
    throw input_error("--noise-floor", "it with " + o.sources[0], "no results to compare",
                      "name the database by --db");
}

std::optional<CompareOptions> parse_compare_options(const std::vector<std::string>& args) {
  CompareOptions o;
  OptionSet set = compare_option_set(o);
  size_t first = 0;
  while (first < args.size() && first < 2 && args[first].rfind('-', 0) != 0)
    o.sources.push_back(args[first++]);
  if (!set.parse({args.begin() + static_cast<int64_t>(first), args.end()})) return std::nullopt;
  refuse_mixture(set, o);
  if (o.noise_floor) return o;
  if (set.given("--tolerance") && !set.given("--baseline"))
    throw input_error("--tolerance", "it without --baseline", "both", "name A by --baseline");
  if (!o.baseline.empty()) o.sources.insert(o.sources.begin(), o.baseline);
  if (o.sources.size() != 2) {
    throw input_error("moehill compare", fmt::format("{} sets of results", o.sources.size()),
                      "A B, or B --baseline A", "name two, before the options");
  }
  return o;
}

void write_json(const std::string& path, const std::vector<MatchedPair>& pairs) {
  std::string lines;
  for (const MatchedPair& pair : pairs) lines += json_text(pair_json(pair)) + "\n";
  write_json_lines(path, lines);
}

std::string repeated_lines(const ResultSet& a, const ResultSet& b) {
  std::string text;
  for (const ResultSet* set : {&a, &b}) {
    if (set->num_repeated > 0)
      text += fmt::format("{}: {} records are there more than once and count once\n", set->source,
                          set->num_repeated);
  }
  return text;
}

// Without a regression that is shown, a gate that cannot tell is no pass. Without a gate the table says what
// cannot be told, unless nothing could be compared at all.
void refuse_undecided(const CompareOptions& o, const Matching& matching,
                      const std::vector<std::string>& lost) {
  const std::vector<std::string> open = unjudged(matching);
  const bool gate = !o.baseline.empty();
  if (open.empty() || (gate ? !lost.empty() : !matching.pairs.empty())) {
    for (const std::string& line : open) std::fprintf(stderr, "not judged: %s\n", line.c_str());
    if (!open.empty()) std::fprintf(stderr, "%s\n", remedy_of(matching).c_str());
    return;
  }
  throw input_error(gate ? "--baseline" : "moehill compare", fmt::format("{}", fmt::join(open, "; ")),
                    "pairs that can be judged", remedy_of(matching));
}

// "topk=2 shared_fused" as arguments of bench.
std::vector<std::string> arguments_of_point(const std::string& text) {
  std::vector<std::string> arguments;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    std::string name = word.substr(0, equals);
    std::replace(name.begin(), name.end(), '_', '-');
    arguments.push_back("--" + name);
    if (equals != std::string::npos) arguments.push_back(word.substr(equals + 1));
  }
  return arguments;
}

int store_noise_floor(const CompareOptions& o) {
  const std::vector<std::string> arguments = arguments_of_point(o.point);
  const std::optional<BenchOptions> point = parse_bench_options(arguments);  // refuses before anything runs
  if (!point || !point->json.empty())
    throw input_error("--point", quoted(o.point), "options of one run of bench", "leave out help and json");
  Store store = Store::open_or_create(database_path(o.database));
  const std::optional<StoredNoiseFloor> floor = measure_noise_floor(arguments, o.rounds);
  if (!floor) return kExitInterrupted;
  store.add_noise_floor(*floor);
  std::fputs(noise_floor_text(*floor).c_str(), stdout);
  return kExitDone;
}

}  // namespace

int compare_command(const std::vector<std::string>& args) {
  const std::optional<CompareOptions> o = parse_compare_options(args);
  if (!o) return kExitDone;
  if (o->noise_floor) return store_noise_floor(*o);
  const double tolerance = parse_tolerance(o->tolerance);
  const ResultSet a = read_results(o->sources[0]), b = read_results(o->sources[1]);
  const Matching matching = match_results(a, b);
  if (matching.pairs.empty() && matching.missing.empty()) {
    throw input_error("moehill compare", "no result of the one that fits one of the other",
                      "points whose options agree but for those that tell the two sets apart",
                      "name single points as DATABASE:EXPERIMENT/POINT");
  }
  std::vector<std::string> lost;
  if (!o->baseline.empty()) lost = regressions(matching, tolerance);
  if (o->json != "-") std::fputs((repeated_lines(a, b) + matching_table(matching)).c_str(), stdout);
  refuse_undecided(*o, matching, lost);
  require_writable_json(o->json);
  if (!o->json.empty()) write_json(o->json, matching.pairs);
  for (const std::string& line : lost) std::fprintf(stderr, "regression: %s\n", line.c_str());
  return lost.empty() ? kExitDone : kExitRegression;
}

}  // namespace moehill
