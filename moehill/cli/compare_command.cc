// `moehill compare`: two sets of results matched point by point, with verdicts and a gate for regressions.
#include <fmt/format.h>

#include <cstdio>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output_paths.h"
#include "moehill/report/matching.h"

namespace moehill {
namespace {

struct CompareOptions {
  std::vector<std::string> sources;
  std::string baseline, tolerance, json;
};

OptionSet compare_option_set(CompareOptions& o) {
  OptionSet set(
      "moehill compare A B",
      "How much faster B is than A. Each is a file of records, DATABASE, DATABASE:EXPERIMENT or "
      "DATABASE:EXPERIMENT/POINT.",
      {"moehill compare before.jsonl after.jsonl",
       "moehill compare \"book.sqlite:remat/remat_mode=none\" \"book.sqlite:remat/remat_mode=combine\"",
       "moehill compare after.jsonl --baseline before.jsonl --tolerance 3%"});
  set.text("--baseline", &o.baseline, "A", "the results to hold B to: the exit status is 4 on a regression");
  set.text("--tolerance", &o.tolerance, "PERCENT", "how much slower B may be, for example 3%; default 0%");
  set.text("--json", &o.json, "FILE", "one comparison a line; - is standard output, without the table");
  return set;
}

double parse_tolerance(const std::string& text) {
  if (text.empty()) return 0;
  const bool percent = text.back() == '%';
  if (!percent) throw input_error("--tolerance", text, "a number with %, such as 3%", "write the % sign");
  return parse_number("--tolerance", text.substr(0, text.size() - 1), 0, 99) / 100;
}

std::optional<CompareOptions> parse_compare_options(const std::vector<std::string>& args) {
  CompareOptions o;
  OptionSet set = compare_option_set(o);
  size_t first = 0;
  while (first < args.size() && first < 2 && args[first].rfind('-', 0) != 0)
    o.sources.push_back(args[first++]);
  if (!set.parse({args.begin() + static_cast<int64_t>(first), args.end()})) return std::nullopt;
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
  if (path != "-") return write_text_file(path, lines);
  if (std::fputs(lines.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw std::runtime_error("cannot write the comparisons to standard output");
}

}  // namespace

int compare_command(const std::vector<std::string>& args) {
  const std::optional<CompareOptions> o = parse_compare_options(args);
  if (!o) return kExitDone;
  const double tolerance = parse_tolerance(o->tolerance);
  const ResultSet a = read_results(o->sources[0]), b = read_results(o->sources[1]);
  const Matching matching = match_results(a, b);
  if (matching.pairs.empty()) {
    throw input_error("moehill compare", "no result of the one that fits one of the other",
                      "points whose options agree but for those that tell the two sets apart",
                      "name single points as DATABASE:EXPERIMENT/POINT");
  }
  if (!o->json.empty() && o->json != "-") require_writable_file("--json", o->json);
  if (!o->json.empty()) write_json(o->json, matching.pairs);
  if (o->json != "-") std::fputs(matching_table(matching).c_str(), stdout);
  if (o->baseline.empty()) return kExitDone;
  const std::vector<std::string> lost = regressions(matching, tolerance);
  for (const std::string& line : lost) std::fprintf(stderr, "regression: %s\n", line.c_str());
  return lost.empty() ? kExitDone : kExitRegression;
}

}  // namespace moehill
