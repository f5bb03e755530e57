// Implementation of report/matching_report.h.
#include "moehill/report/matching_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "moehill/base/table.h"
#include "moehill/report/markdown.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

bool is_cannot_tell(const MatchedPair& pair) { return pair.verdict == Verdict::cannot_tell; }

std::string pair_label(const MatchedPair& pair) {
  return pair.label_a == pair.label_b ? pair.label_a : fmt::format("{} -> {}", pair.label_a, pair.label_b);
}

std::string missing_text(const MissingFigure& missing) {
  return fmt::format("{}: no figure in {}, {}", missing.label, missing.of_baseline ? "A" : "B", missing.why);
}

// Returns the answer in one sentence: "B against A, 3 points: 2 faster, 1 within noise."
std::string answer_of(const Matching& matching) {
  std::map<Verdict, int> counts;
  for (const MatchedPair& pair : matching.pairs) ++counts[pair.verdict];
  std::vector<std::string> parts;
  for (const auto& [verdict, count] : counts) parts.push_back(fmt::format("{} {}", count, name_of(verdict)));
  if (parts.empty()) return "No point has a figure on both sides.\n";
  return fmt::format("B against A, {}: {}.\n", count_text(std::ssize(matching.pairs), "point"),
                     fmt::join(parts, ", "));
}

// Returns a line for each noise floor by which a pair was judged. Pairs of other rounds have another one.
std::string floor_lines(const Matching& matching) {
  std::set<std::pair<int64_t, double>> floors;  // rounds and floor
  for (const MatchedPair& pair : matching.pairs)
    if (pair.floor && pair.ratio.n > 0) floors.emplace(pair.ratio.n, *pair.floor);
  std::string text;
  for (const auto& [rounds, floor] : floors)
    text += fmt::format("noise floor of this machine over {}: {:.2f} %\n", count_text(rounds, "round"),
                        100 * floor);
  return text;
}

bool is_regression(const MatchedPair& pair, double tolerance) {
  return pair.verdict == Verdict::slower && pair.ratio.ratio < 1 - tolerance;
}
bool is_lost(const MissingFigure& missing) { return !missing.of_baseline && !missing.unchecked; }

struct JunitCases {
  std::string text;
  int tests = 0, failures = 0, skipped = 0;

  // Adds a case. `why` says why it failed or why it is skipped; empty: it passed.
  void add(const std::string& label, const std::string& properties, bool failed, const std::string& why) {
    ++tests;
    failures += failed ? 1 : 0;
    skipped += !failed && !why.empty() ? 1 : 0;
    const std::string outcome =
        why.empty() ? "" : fmt::format("<{} message=\"{}\"/>", failed ? "failure" : "skipped", xml_text(why));
    text += fmt::format(
        "  <testcase classname=\"compare\" name=\"{}\"><properties>{}</properties>{}</testcase>\n",
        xml_text(label), properties, outcome);
  }
};

std::string pair_properties(const MatchedPair& pair) {
  const StoredJson json = pair_json(pair);
  std::string properties;
  for (const auto& [name, value] : json.items()) {
    if (!value.empty())
      properties += fmt::format("<property name=\"{}\" value=\"{}\"/>", name,
                                xml_text(value.is_string() ? value.get<std::string>() : json_text(value)));
  }
  return properties;
}

}  // namespace

StoredJson pair_json(const MatchedPair& pair) {
  const auto& interval = pair.ratio.interval;
  const auto value = [&](double Interval::*of) {
    return interval ? StoredJson((*interval).*of) : StoredJson(nullptr);
  };
  return {{"a", pair.label_a},
          {"b", pair.label_b},
          {"ratio", pair.ratio.n > 0 ? StoredJson(pair.ratio.ratio) : StoredJson(nullptr)},
          {"ci_lo", value(&Interval::lo)},
          {"ci_hi", value(&Interval::hi)},
          {"coverage", value(&Interval::coverage)},
          {"n", pair.ratio.n},
          {"paired", pair.ratio.paired},
          {"noise_floor", pair.floor ? StoredJson(*pair.floor) : StoredJson(nullptr)},
          {"verdict", name_of(pair.verdict)},
          {"unlike", pair.unlike},
          {"repro", pair.repro.empty() ? StoredJson(nullptr) : StoredJson(pair.repro)}};
}

std::string pair_lines(const Matching& matching) {
  std::string text;
  for (const MatchedPair& pair : matching.pairs) {
    const std::string verdict =
        is_cannot_tell(pair) ? verdict_words(pair.ratio, pair.floor) : name_of(pair.verdict);
    text += fmt::format("{:<44} {:>32}  {}{}\n", pair_label(pair),
                        pair.ratio.n > 0 ? change_text(pair.ratio) : "", verdict,
                        pair.ratio.paired ? "" : " (not interleaved)");
  }
  return text;
}

std::string matching_table(const Matching& matching) {
  std::string text = answer_of(matching);
  text += matching.differing.empty()
              ? std::string("no option tells A and B apart\n")
              : fmt::format("A and B differ in {}\n", fmt::join(matching.differing, ", "));
  for (const std::string& line : matching.unlike)
    text += fmt::format("A and B are not of one machine and build: {}\n", line);
  text += pair_lines(matching);
  for (const MatchedPair& pair : matching.pairs) {
    const auto has = [&](const char* name) {
      return std::find(pair.unlike.begin(), pair.unlike.end(), name) != pair.unlike.end();
    };
    if (has("plan") || has("weights"))
      text += fmt::format("{}: A and B have the same options and another {}, so this is not the same work\n",
                          pair_label(pair), has("plan") ? "routing" : "model's weights");
  }
  for (const MissingFigure& missing : matching.missing) text += missing_text(missing) + "\n";
  for (const std::string& label : matching.only_a) text += fmt::format("only in A: {}\n", label);
  for (const std::string& label : matching.only_b) text += fmt::format("only in B: {}\n", label);
  return text + floor_lines(matching);
}

std::string notes_of(const ResultSet& set) {
  std::string text;
  if (set.num_repeated > 0)
    text += fmt::format("{}: {} once\n", set.source,
                        count_text(set.num_repeated, "record is there more than once and counts",
                                   "records are there more than once and count"));
  if (set.num_ablated > 0)
    text +=
        fmt::format("{}: {}\n", set.source,
                    count_text(set.num_ablated, "record is of a step that left stages out, and is no result",
                               "records are of steps that left stages out, and are no results"));
  return text;
}

std::string matching_junit(const Matching& matching, double tolerance) {
  JunitCases cases;
  for (const MatchedPair& pair : matching.pairs) {
    const bool failed = is_regression(pair, tolerance);
    const std::string open = is_cannot_tell(pair) ? verdict_words(pair.ratio, pair.floor) : "";
    cases.add(pair_label(pair), pair_properties(pair), failed,
              failed ? fmt::format("regression: {}", change_text(pair.ratio)) : open);
  }
  for (const MissingFigure& missing : matching.missing)
    cases.add(missing.label, "", is_lost(missing), missing_text(missing));
  for (const std::string& label : matching.only_a) cases.add(label, "", true, "not in B");
  for (const std::string& label : matching.only_b) cases.add(label, "", false, "not in A");
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"moehill compare\" "
      "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">\n{}</testsuite>\n",
      cases.tests, cases.failures, cases.skipped, cases.text);
}

std::vector<std::string> regressions(const Matching& matching, double tolerance) {
  std::vector<std::string> lines;
  for (const MatchedPair& pair : matching.pairs) {
    if (is_regression(pair, tolerance))
      lines.push_back(fmt::format("{}: {}", pair.label_b, change_text(pair.ratio)));
  }
  // A figure that was lost is a regression too, unless the check was switched off on purpose.
  for (const MissingFigure& missing : matching.missing) {
    if (is_lost(missing)) lines.push_back(missing_text(missing));
  }
  for (const std::string& label : matching.only_a) lines.push_back(label + ": not in B");
  return lines;
}

std::vector<std::string> unjudged(const Matching& matching) {
  std::vector<std::string> lines;
  for (const MatchedPair& pair : matching.pairs) {
    if (is_cannot_tell(pair))
      lines.push_back(fmt::format("{}: {}", pair_label(pair), verdict_words(pair.ratio, pair.floor)));
  }
  for (const MissingFigure& missing : matching.missing) {
    if (missing.of_baseline || missing.unchecked) lines.push_back(missing_text(missing));
  }
  return lines;
}

std::string remedy_of(const Matching& matching) {
  std::vector<std::string> remedies;
  // Pairs of one experiment need more rounds; separate processes need more processes.
  const auto lacks = [&](bool paired) {
    return std::any_of(matching.pairs.begin(), matching.pairs.end(), [&](const MatchedPair& pair) {
      return is_cannot_tell(pair) && pair.ratio.paired == paired;
    });
  };
  if (lacks(false))
    remedies.push_back(fmt::format(
        "measure each side by {0} runs of its own, in turn where both can run: for i in $(seq {0}); do "
        "moehill bench OPTIONS-OF-A --json - >>A; moehill bench OPTIONS-OF-B --json - >>B; done; or let "
        "moehill sweep run both in turn and compare DATABASE:EXPERIMENT/POINT",
        kMinProcesses));
  if (lacks(true))
    remedies.push_back(fmt::format("measure at least {} rounds, by --iters or rounds", kMinRounds));
  if (!matching.missing.empty()) remedies.push_back("measure what has no figure with --check sample or full");
  return fmt::format("{}", fmt::join(remedies, "; "));
}

}  // namespace moehill
