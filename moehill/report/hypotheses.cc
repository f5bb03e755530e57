// Implementation of report/hypotheses.h: the pairs of an expectation, how clear each of them is, and the rule
// for the state of a hypothesis.
#include "moehill/report/hypotheses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/report/markdown.h"

namespace moehill {
namespace {

// Returns the axes of a row's point. The path of a record of `profile` is added as the axis `path`.
StoredJson axes_of(const ExperimentView& view, const ResultRow& row) {
  StoredJson axes = view.points[row.point].axes;
  if (row.measured && row.measured->path != ProfilePath::none) axes["path"] = name_of(row.measured->path);
  return axes;
}

// Returns true if an axis moves with the named axes, as in a [[zip]]: points that agree in the named axes
// also agree in this one.
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

// Returns true if the two agree in all axes that the expectation does not name, except for axes that move
// along.
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

// Returns true if neither interval nor noise leaves doubt on which side of the threshold the ratio is. This
// is the rule of judge(), with the threshold in place of 1.
bool is_clear(const Expectation& expectation, const Ratio& ratio, const std::optional<double>& floor) {
  if (!ratio.interval) return false;
  const bool met = is_met(expectation, ratio.ratio);
  const double threshold = expectation.threshold, noise = floor.value_or(std::log1p(kNegligible));
  return is_met(expectation, ratio.interval->lo) == met && is_met(expectation, ratio.interval->hi) == met &&
         (threshold <= 0 || std::abs(std::log(ratio.ratio / threshold)) > noise);
}

JudgedPair judge_pair(const ExperimentView& view, const Expectation& expectation, size_t over, size_t under) {
  const Measured& a = *view.rows[under].measured;
  const Measured& b = *view.rows[over].measured;
  JudgedPair pair{over, under, compare_speed(series_of(a), series_of(b), 0)};
  pair.met = is_met(expectation, pair.ratio.ratio);
  pair.clear = is_clear(expectation, pair.ratio, view.floor) && !identical_records(a.first, b.first);
  return pair;
}

// Returns true if the expectation speaks of the point, on any path of `profile`.
bool speaks_of(const Expectation& expectation, const StoredPoint& point) {
  const auto holds = [&](std::vector<AxisValue> wanted) {
    std::erase_if(wanted, [](const AxisValue& value) { return value.axis == "path"; });
    return matches(wanted, point.axes);
  };
  return (holds(expectation.numerator) && holds(expectation.at)) || holds(expectation.denominator);
}

bool has_figure(const ExperimentView& view, size_t point) {
  return std::any_of(view.rows.begin(), view.rows.end(),
                     [&](const ResultRow& row) { return row.point == point && row.timed(); });
}

// Judgement collects reasons against each state.
struct Judgement {
  // Each says why the state holds; empty: it does not hold.
  std::string unfinished, falsified, blocked, undecided;
  size_t num_pairs = 0;
};

void add_expectation(const ExperimentView& view, const JudgedExpectation& judged, Judgement& sum) {
  const std::string text = markdown_code(judged.text);
  if (!judged.expectation) {
    sum.undecided = text + " cannot be read";
    return;
  }
  for (size_t i = 0; i < view.points.size(); ++i) {
    const StoredPoint& point = view.points[i];
    if (!sum.blocked.empty() || !speaks_of(*judged.expectation, point) || has_figure(view, i)) continue;
    const bool failed = has_failed(point.state);
    sum.blocked = fmt::format(
        "{} {}", markdown_code(point.label),
        failed ? "failed: " + markdown_text(name_of(point.state)) : "has no figure that a check has passed");
  }
  if (judged.pairs.empty() && sum.undecided.empty()) sum.undecided = text + ": no pair of points";
  for (const JudgedPair& pair : judged.pairs) {
    ++sum.num_pairs;
    std::string& why = pair.clear ? sum.falsified : sum.undecided;
    if ((!pair.clear || !pair.met) && why.empty()) why = fmt::format("{} {}", text, judged_text(view, pair));
  }
}

Judgement judgement_of(const ExperimentView& view) {
  Judgement sum;
  const auto is_open = [](const StoredPoint& point) {
    return point.state != RunState::done && !has_failed(point.state);
  };
  const auto open = std::count_if(view.points.begin(), view.points.end(), is_open);
  if (open > 0)
    sum.unfinished = fmt::format("{} of {} {} runs left", open, count_text(std::ssize(view.points), "point"),
                                 open == 1 ? "has" : "have");
  const std::vector<std::string> fixed = fixed_expectations(view.experiment);
  for (const std::string& text : fixed) add_expectation(view, judge_expectation(view, text), sum);
  if (fixed.empty()) sum.undecided = "no threshold was fixed beforehand";
  return sum;
}

Hypothesis hypothesis_of(const ExperimentView& view) {
  // The first state that holds is taken, in the order of hypotheses.h.
  const Judgement sum = judgement_of(view);
  if (!sum.unfinished.empty()) return {"", HypothesisState::active, sum.unfinished};
  if (!sum.falsified.empty()) return {"", HypothesisState::falsified, sum.falsified};
  if (!sum.blocked.empty()) return {"", HypothesisState::blocked, sum.blocked};
  if (!sum.undecided.empty()) return {"", HypothesisState::active, sum.undecided};
  return {"", HypothesisState::promoted,
          sum.num_pairs == 1 ? "as expected in the one pair of points"
                             : fmt::format("as expected in all {} pairs of points", sum.num_pairs)};
}

}  // namespace

std::vector<std::string> fixed_expectations(const StoredExperiment& experiment) {
  const auto before = experiment.sizing.find(kExpectBefore);
  if (before == experiment.sizing.end() || !before->is_array()) return experiment.expect;
  std::vector<std::string> texts;
  for (const StoredJson& text : *before) texts.push_back(value_text(text));
  return texts;
}

std::vector<StatedExpectation> stated_expectations(const StoredExperiment& experiment) {
  std::vector<StatedExpectation> all;
  const std::vector<std::string> fixed = fixed_expectations(experiment);
  for (const std::string& text : fixed) all.push_back({text, true});
  for (const std::string& text : experiment.expect) {
    if (std::find(fixed.begin(), fixed.end(), text) == fixed.end()) all.push_back({text, false});
  }
  return all;
}

JudgedExpectation judge_expectation(const ExperimentView& view, const std::string& text) {
  JudgedExpectation judged{text, {}, {}};
  try {
    judged.expectation = parse_expectation(text);
  } catch (const InputError&) {
    return judged;
  }
  const Expectation& expectation = *judged.expectation;
  for (size_t i = 0; i < view.rows.size(); ++i) {
    const StoredJson over = axes_of(view, view.rows[i]);
    if (!view.rows[i].timed() || !matches(expectation.numerator, over) || !matches(expectation.at, over))
      continue;
    for (size_t j = 0; j < view.rows.size(); ++j) {
      const StoredJson under = axes_of(view, view.rows[j]);
      if (view.rows[j].timed() && matches(expectation.denominator, under) &&
          same_elsewhere(view, over, under, expectation) &&
          partner_of(view, view.rows[i], view.rows[j].point, view.rows[j].measured->path) == j) {
        const JudgedPair pair = judge_pair(view, expectation, i, j);
        // Two points without a round on one host are no pair.
        if (pair.ratio.n > 0) judged.pairs.push_back(pair);
      }
    }
  }
  return judged;
}

std::string judged_text(const ExperimentView& view, const JudgedPair& pair) {
  const std::string doubt = pair.clear            ? ""
                            : pair.ratio.interval ? ", but interval and noise do not decide it"
                                                  : ", but " + verdict_words(pair.ratio, view.floor);
  return fmt::format("{}{}: {} over {} is {:.3f}{}", pair.met ? "met" : "not met", doubt,
                     markdown_code(view.label(view.rows[pair.over])),
                     markdown_code(view.label(view.rows[pair.under])), pair.ratio.ratio,
                     interval_text(pair.ratio.interval, "{:.3f}"));
}

std::vector<Hypothesis> hypotheses_of(const std::vector<ExperimentView>& views) {
  std::vector<Hypothesis> all;
  for (const ExperimentView& view : views) {
    all.push_back(hypothesis_of(view));
    all.back().id = fmt::format("H{}", all.size());
  }
  return all;
}

}  // namespace moehill
