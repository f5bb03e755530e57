#include "moehill/report/findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/report/markdown.h"
#include "moehill/store/expectation.h"

#include "moehill/record/record.h"

namespace moehill {
namespace {

constexpr double kNoTrend = 0.01;  // published changes below it have no direction

double median_tflops(const ResultRow& row) { return median_of(row.measured->tflops); }

// The axes of a row's point, and `path` as one of them.
StoredJson axes_of(const ExperimentView& view, const ResultRow& row) {
  StoredJson axes = view.points[row.point].axes;
  if (row.measured && row.measured->path != ProfilePath::none) axes["path"] = name_of(row.measured->path);
  return axes;
}

std::string ratio_text(const Ratio& ratio) {
  return fmt::format("{:.3f}{}", ratio.ratio, interval_text(ratio.interval, "{:.3f}"));
}

// The fastest of a baseline and the rows compared with it, by the ratios that the verdicts are of.
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
    return fmt::format("{}: no point is faster than this baseline ({:.4g} TF/s)", base,
                       median_tflops(view.rows[baseline]));
  if (best->verdict != Verdict::faster)
    return fmt::format("{}: no point is ahead of this baseline beyond noise; the fastest is {} ({})", base,
                       markdown_code(view.label(*best)), view.change(*best));
  return fmt::format("{} wins with {:.4g} TF/s, {} over {}", markdown_code(view.label(*best)),
                     median_tflops(*best), change_text(*best->against), base);
}

void add_winners(const ExperimentView& view, std::vector<std::string>& lines) {
  bool compared = false;
  for (size_t i = 0; i < view.rows.size(); ++i) {
    const auto with_i = [&](const ResultRow& row) { return row.baseline == i; };
    if (std::none_of(view.rows.begin(), view.rows.end(), with_i)) continue;
    lines.push_back(winner_line(view, i));
    compared = true;
  }
  if (compared) return;
  const ResultRow* best = nullptr;
  for (const ResultRow& row : view.rows) {
    if (row.timed() && (best == nullptr || median_tflops(row) > median_tflops(*best))) best = &row;
  }
  lines.push_back(best == nullptr ? "No point has a result."
                                  : fmt::format("{} has the highest rate, {:.4g} TF/s; nothing is compared",
                                                markdown_code(view.label(*best)), median_tflops(*best)));
}

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
    lines.push_back(fmt::format("Noise floor of this machine over {} rounds: {:.2f} %",
                                view.experiment.rounds, 100 * *view.floor));
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
    lines.push_back(fmt::format("{} results were disturbed by other work on the machine", disturbed));
}

// Says how far the model's predictions are off: seconds predicted over seconds measured, by point.
void add_predictions(const ExperimentView& view, std::vector<std::string>& lines) {
  std::vector<double> ratios;
  for (const ResultRow& row : view.rows) {
    if (!row.timed()) continue;
    if (const auto predicted = part_of<std::optional<RecordedPrediction>>(row.measured->first, "prediction"))
      ratios.push_back(predicted->time_s / median_of(row.measured->seconds));
  }
  if (ratios.empty()) return;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  lines.push_back(fmt::format(
      "Time predicted by the model over time measured: {:.2f} in the median of {} results, {:.2f} to {:.2f}",
      median_of(ratios), ratios.size(), *least, *most));
}

int direction(double change) { return change > kNoTrend ? 1 : change < -kNoTrend ? -1 : 0; }

std::string trend_text(const ResultRow& row, double published_ratio) {
  if (row.verdict == Verdict::inconclusive || row.verdict == Verdict::cannot_tell) return "undecided here";
  const int here = row.verdict == Verdict::faster ? 1 : row.verdict == Verdict::slower ? -1 : 0;
  return here == direction(published_ratio - 1) ? "the trend agrees" : "the trend differs";
}

// Points that stand beside one published figure, which says nothing of what sets them apart.
bool same_figure(const PublishedRow& a, const PublishedRow& b) {
  return a.parallel_mode == b.parallel_mode && a.sizes == b.sizes && a.extra == b.extra &&
         a.blocks == b.blocks;
}

void add_published(const ExperimentView& view, std::vector<std::string>& lines) {
  bool any = false;
  for (const ResultRow& row : view.rows) {
    if (!row.timed() || !row.published) continue;
    any = true;
    if (!row.baseline || !view.rows[*row.baseline].published) continue;
    const ResultRow& base = view.rows[*row.baseline];
    if (same_figure(*row.published, *base.published)) continue;
    const double published_ratio = *row.published->tflops / *base.published->tflops;
    lines.push_back(fmt::format("{} over {}: published {:.3f}, here {}: {}", markdown_code(view.label(row)),
                                markdown_code(view.label(base)), published_ratio, ratio_text(*row.against),
                                trend_text(row, published_ratio)));
  }
  if (any && !view.experiment.reference_defect.empty())
    lines.push_back("Known defect of the original measurement: " +
                    markdown_text(view.experiment.reference_defect));
}

// True if an axis moves with the named ones, as in a [[zip]]: points that agree in those agree in it.
bool moves_along(const ExperimentView& view, const std::string& axis, const std::vector<AxisValue>& named) {
  const auto agree = [&](const StoredJson& a, const StoredJson& b) {
    return std::all_of(named.begin(), named.end(), [&](const AxisValue& value) {
      return a.value(value.axis, StoredJson()) == b.value(value.axis, StoredJson());
    });
  };
  for (const StoredPoint& a : view.points) {
    if (!a.axes.contains(axis)) return false;  // the paths of `profile`
    for (const StoredPoint& b : view.points) {
      if (agree(a.axes, b.axes) && a.axes.value(axis, StoredJson()) != b.axes.value(axis, StoredJson()))
        return false;
    }
  }
  return true;
}

bool same_elsewhere(const ExperimentView& view, const StoredJson& a, const StoredJson& b,
                    const Expectation& expectation) {
  const auto named = [&](const std::string& axis) {
    const auto is_it = [&](const AxisValue& value) { return value.axis == axis; };
    return std::any_of(expectation.numerator.begin(), expectation.numerator.end(), is_it) ||
           std::any_of(expectation.denominator.begin(), expectation.denominator.end(), is_it);
  };
  return std::all_of(a.items().begin(), a.items().end(), [&](const auto& item) {
    return named(item.key()) || moves_along(view, item.key(), expectation.numerator) ||
           (b.contains(item.key()) && b[item.key()] == item.value());
  });
}

std::string judged_pair(const ExperimentView& view, const Expectation& expectation, const ResultRow& over,
                        const ResultRow& under) {
  const Ratio ratio = compare_speed(series_of(*under.measured), series_of(*over.measured), 0);
  const bool met = is_met(expectation, ratio.ratio);
  const bool firm = ratio.interval && is_met(expectation, ratio.interval->lo) == met &&
                    is_met(expectation, ratio.interval->hi) == met;
  const std::string doubt = firm             ? ""
                            : ratio.interval ? ", but the interval does not decide it"
                                             : ", but " + verdict_words(ratio, view.floor);
  return fmt::format("{}{}: {} over {} is {}", met ? "met" : "not met", doubt,
                     markdown_code(view.label(over)), markdown_code(view.label(under)), ratio_text(ratio));
}

}  // namespace

std::vector<std::string> judge_expectation(const ExperimentView& view, const std::string& text) {
  Expectation expectation;
  try {
    expectation = parse_expectation(text);
  } catch (const InputError&) {
    return {fmt::format("Expectation {} cannot be read", markdown_code(text))};
  }
  std::vector<std::string> lines;
  for (const ResultRow& over : view.rows) {
    const StoredJson over_axes = axes_of(view, over);
    if (!over.timed() || !matches(expectation.numerator, over_axes) || !matches(expectation.at, over_axes))
      continue;
    for (const ResultRow& under : view.rows) {
      const StoredJson axes = axes_of(view, under);
      if (under.timed() && matches(expectation.denominator, axes) &&
          same_elsewhere(view, over_axes, axes, expectation))
        lines.push_back(fmt::format("Expectation {} {}", markdown_code(text),
                                    judged_pair(view, expectation, over, under)));
    }
  }
  if (lines.empty())
    lines.push_back(fmt::format("Expectation {}: no pair of points with results", markdown_code(text)));
  return lines;
}

std::vector<std::string> findings(const ExperimentView& view) {
  std::vector<std::string> lines;
  add_winners(view, lines);
  for (const std::string& expectation : view.experiment.expect) {
    for (const std::string& line : judge_expectation(view, expectation)) lines.push_back(line);
  }
  add_undecided(view, lines);
  add_troubles(view, lines);
  add_predictions(view, lines);
  add_published(view, lines);
  return lines;
}

}  // namespace moehill
