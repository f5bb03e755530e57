// Implementation of report/findings.h: one function for each kind of sentence, in the order of a reader's
// questions.
#include "moehill/report/findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "moehill/base/table.h"
#include "moehill/report/hypotheses.h"
#include "moehill/report/markdown.h"
#include "moehill/report/replayed.h"

namespace moehill {
namespace {

double median_gflops(const ResultRow& row) { return 1e3 * median_of(row.measured->tflops); }

std::string ratio_text(const Ratio& ratio) {
  return fmt::format("{:.3f}{}", ratio.ratio, interval_text(ratio.interval, "{:.3f}"));
}

// Returns the sentence on a baseline and the rows that are compared with it. The ratios of the verdicts
// decide which row is the fastest.
std::string winner_line(const ExperimentView& view, size_t baseline) {
  const ResultRow* best = nullptr;
  double most = 1;  // the baseline's own
  for (const ResultRow& row : view.rows) {
    if (row.baseline != baseline || row.verdict == Verdict::identical || row.against->ratio <= most) continue;
    best = &row;
    most = row.against->ratio;
  }
  const std::string base = markdown_code(view.label(view.rows[baseline]));
  if (best == nullptr)
    return fmt::format("{}: no point is faster than this baseline ({:.1f} GF/s)", base,
                       median_gflops(view.rows[baseline]));
  if (best->verdict != Verdict::faster)
    return fmt::format("{}: no point is ahead of this baseline beyond noise; the fastest is {} ({})", base,
                       markdown_code(view.label(*best)), view.change(*best));
  return fmt::format("{} wins with {:.1f} GF/s, {} over {}", markdown_code(view.label(*best)),
                     median_gflops(*best), change_text(*best->against), base);
}

// Lists rows without a clear verdict, and the noise floor by which they were judged.
void add_undecided(const ExperimentView& view, std::vector<std::string>& lines) {
  for (const Verdict verdict :
       {Verdict::within_noise, Verdict::inconclusive, Verdict::cannot_tell, Verdict::identical}) {
    std::vector<std::string> labels;
    for (const ResultRow& row : view.rows) {
      if (row.verdict == verdict) labels.push_back(markdown_code(view.label(row)));
    }
    if (!labels.empty())
      lines.push_back(fmt::format("Against the baseline {}: {}", name_of(verdict), fmt::join(labels, ", ")));
  }
  if (view.floor)
    lines.push_back(fmt::format("Noise floor of this machine over {}: {:.2f} %",
                                count_text(view.experiment.rounds, "round"), 100 * *view.floor));
}

void add_troubles(const ExperimentView& view, std::vector<std::string>& lines) {
  for (const StoredPoint& point : view.points) {
    if (point.state != RunState::done)
      lines.push_back(
          fmt::format("{} is not done: {}", markdown_code(point.label), markdown_text(name_of(point.state))));
  }
  int64_t disturbed = 0;
  for (const ResultRow& row : view.rows) disturbed += row.measured ? row.measured->disturbed : 0;
  if (disturbed > 0)
    lines.push_back(count_text(disturbed, "result was", "results were") +
                    " disturbed by other work on the machine");
}

// Says how far the model's predictions are off: seconds predicted over seconds measured, by point.
void add_predictions(const ExperimentView& view, std::vector<std::string>& lines) {
  std::vector<double> ratios;
  for (const ResultRow& row : view.rows) {
    if (!row.timed()) continue;
    if (const std::optional<double> predicted = predicted_seconds(*row.measured))
      ratios.push_back(*predicted / median_of(row.measured->seconds));
  }
  if (ratios.empty()) return;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  lines.push_back(fmt::format(
      "Time predicted by the model over time measured: {:.2f} in the median of {}, {:.2f} to {:.2f}",
      median_of(ratios), count_text(std::ssize(ratios), "result"), *least, *most));
}

void add_published(const ExperimentView& view, std::vector<std::string>& lines) {
  for (const ReplayedRatio& ratio : replayed_ratios({&view, 1}))
    lines.push_back(fmt::format("{}: published {:.3f}, here {}: {} ({})", ratio.words, ratio.published,
                                ratio_text(ratio.here), name_of(ratio.held.agreement), ratio.held.why));
  const bool any = std::any_of(view.rows.begin(), view.rows.end(),
                               [](const ResultRow& row) { return row.timed() && row.published; });
  if (any && !view.experiment.reference_defect.empty())
    lines.push_back("Known defect of the original measurement: " +
                    markdown_text(view.experiment.reference_defect));
}

}  // namespace

std::vector<std::string> winner_lines(const ExperimentView& view) {
  std::vector<std::string> lines;
  bool compared = false;
  for (size_t i = 0; i < view.rows.size(); ++i) {
    const auto with_i = [&](const ResultRow& row) { return row.baseline == i; };
    if (std::none_of(view.rows.begin(), view.rows.end(), with_i)) continue;
    lines.push_back(winner_line(view, i));
    compared = true;
  }
  // Without a baseline nothing is compared, so the sentence can only name the highest rate.
  if (compared) return lines;
  const ResultRow* best = nullptr;
  for (const ResultRow& row : view.rows) {
    if (row.timed() && (best == nullptr || median_gflops(row) > median_gflops(*best))) best = &row;
  }
  lines.push_back(best == nullptr ? "No point has a result."
                                  : fmt::format("{} has the highest rate, {:.1f} GF/s; nothing is compared",
                                                markdown_code(view.label(*best)), median_gflops(*best)));
  return lines;
}

std::vector<std::string> expectation_lines(const ExperimentView& view) {
  std::vector<std::string> lines;
  for (const StatedExpectation& stated : stated_expectations(view.experiment)) {
    const JudgedExpectation judged = judge_expectation(view, stated.text);
    const std::string code =
        markdown_code(stated.text) + (stated.counts ? "" : fmt::format(" ({})", kNamedLate));
    if (!judged.expectation) {
      lines.push_back(fmt::format("Expectation {} cannot be read", code));
    } else if (judged.pairs.empty()) {
      lines.push_back(fmt::format("Expectation {}: no pair of points with results", code));
    }
    for (const JudgedPair& pair : judged.pairs)
      lines.push_back(fmt::format("Expectation {} {}", code, judged_text(view, pair)));
  }
  return lines;
}

std::vector<std::string> findings(const ExperimentView& view) {
  std::vector<std::string> lines = winner_lines(view);
  for (const std::string& line : expectation_lines(view)) lines.push_back(line);
  add_undecided(view, lines);
  add_troubles(view, lines);
  add_predictions(view, lines);
  add_published(view, lines);
  return lines;
}

}  // namespace moehill
