// Implementation of report/replayed.h: it pairs published ratios with the ratios measured here ("ours") and
// gives each pair a verdict.
#include "moehill/report/replayed.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "moehill/block/shape.h"
#include "moehill/report/markdown.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

// Says why nothing is decided although we have an interval.
std::string undecided_words(double published, const Interval& ours, const std::optional<double>& floor,
                            double noise) {
  const auto size = [](double log_ratio) { return fmt::format("{:.1f} %", 100 * std::expm1(log_ratio)); };
  if (ours.lo > published || published > ours.hi)
    return fmt::format("the published ratio is off ours by no more than the noise floor of {}",
                       size(floor.value_or(0)));
  if (ours.lo > 1 || ours.hi < 1)
    return fmt::format("our interval holds the published ratio, but ours is within the noise of {} around 1",
                       size(floor.value_or(std::log1p(kNegligible))));
  return fmt::format("our interval holds both 1 and the published ratio, at a noise of {}", size(noise));
}

std::string percent(double ratio) { return fmt::format("{:+.1f} %", 100 * (ratio - 1)); }

// Returns true if both points stand beside the same published figure, which then cannot say how they differ.
bool same_figure(const PublishedRow& a, const PublishedRow& b) {
  return a.parallel_mode == b.parallel_mode && a.sizes == b.sizes && a.extra == b.extra &&
         a.blocks == b.blocks;
}

Held held_row(const ExperimentView& view, const ResultRow& row, double published) {
  if (row.verdict == Verdict::identical) return {Agreement::undecided, "identical configurations here"};
  return hold_against(published, *row.against, view.floor);
}

// Returns "`impl=fast` over `impl=baseline` at `topk=2`". Paths of `profile` are told apart by their names.
std::string words_of(const ExperimentView& view, const ResultRow& row, const ResultRow& base) {
  std::vector<std::string> over, under, common;
  if (row.measured->path != base.measured->path) {
    over.push_back(name_of(row.measured->path));
    under.push_back(name_of(base.measured->path));
  } else if (row.measured->path != ProfilePath::none) {
    common.push_back(name_of(row.measured->path));
  }
  const StoredJson& of_base = view.points[base.point].axes;
  for (const auto& [axis, value] : view.points[row.point].axes.items()) {
    const StoredJson other = of_base.value(axis, StoredJson());
    const auto text = [&, name = axis](const StoredJson& one) {
      return fmt::format("{}={}", name, value_text(one));
    };
    if (other == value) {
      common.push_back(text(value));
    } else {
      over.push_back(text(value));
      under.push_back(text(other));
    }
  }
  if (!row.variant.empty()) over.push_back(difference_words(row.variant));
  if (!base.variant.empty()) under.push_back(difference_words(base.variant));
  const auto code = [](const std::vector<std::string>& parts) {
    return markdown_code(fmt::format("{}", fmt::join(parts, " ")));
  };
  return fmt::format("{} over {}{}", code(over), code(under), common.empty() ? "" : " at " + code(common));
}

// Returns the cells of one line of the table.
std::vector<std::string> cells_of(const ReplayedRatio& ratio, bool has_defect) {
  const auto& interval = ratio.here.interval;
  return {markdown_text(ratio.section),
          ratio.words,
          fmt::format("{} of {}", ratio.tokens, ratio.published_tokens),
          fmt::format("{:.3f}", ratio.published),
          fmt::format("{:.3f}{}", ratio.here.ratio, interval_text(interval, "{:.3f}")),
          fmt::format("{}", name_of(ratio.held.agreement)),
          ratio.held.why + (has_defect ? "; known defect" : "")};
}

}  // namespace

std::optional<double> published_ratio(const PublishedRow& row, const PublishedRow& base) {
  const double over = row.tflops.value_or(0), under = base.tflops.value_or(0);
  if (same_figure(row, base) || !(over > 0 && under > 0) || !std::isfinite(over / under)) return std::nullopt;
  return over / under;
}

Held hold_against(double published, const Ratio& here, const std::optional<double>& floor) {
  const Verdict verdict = judge(here, floor);
  if (verdict == Verdict::cannot_tell) return {Agreement::undecided, verdict_words(here, floor)};
  const double lo = here.interval->lo, hi = here.interval->hi;
  // The lines from here on follow the rule in the header.
  const bool holds = lo <= published && published <= hi;
  const bool clear = verdict == Verdict::faster || verdict == Verdict::slower;
  const bool has_trend = std::abs(published - 1) >= kNoTrend;
  // A clear difference here agrees, has the same direction, or differs.
  if (clear && holds) return {Agreement::agrees, "our interval holds the published ratio"};
  if (clear && !has_trend) return {Agreement::differs, "published as no difference, here a clear one"};
  if (clear && (published > 1) == (here.ratio > 1))
    return {Agreement::direction, std::abs(std::log(published)) > std::abs(std::log(here.ratio))
                                      ? "the same direction, smaller here"
                                      : "the same direction, larger here"};
  if (clear) return {Agreement::differs, "the other way here"};
  // Without a clear difference, the verdict depends on how small a difference we could have seen.
  const double noise =
      std::max({std::log1p(kNoTrend), floor.value_or(0), std::abs(std::log(lo)), std::abs(std::log(hi))});
  if (noise <= std::log1p(kResolved) && std::abs(std::log(published)) <= noise)
    return {Agreement::within_noise,
            fmt::format("no difference beyond {:.1f} % here, and the published one is smaller",
                        100 * std::expm1(noise))};
  if (!holds && std::abs(std::log(published / here.ratio)) > floor.value_or(0))
    return {Agreement::differs, fmt::format("published {}, here none so large", percent(published))};
  return {Agreement::undecided, undecided_words(published, *here.interval, floor, noise)};
}

std::vector<ReplayedRatio> replayed_ratios(std::span<const ExperimentView> views) {
  std::vector<ReplayedRatio> all;
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (!row.timed() || !row.published || !row.baseline) continue;
      const ResultRow& base = view.rows[*row.baseline];
      if (!base.published) continue;
      const std::optional<double> published = published_ratio(*row.published, *base.published);
      if (!published) continue;
      ReplayedRatio ratio;
      ratio.section = row.published->section;
      ratio.experiment = view.experiment.name;
      ratio.over = view.label(row);
      ratio.under = view.label(base);
      ratio.words = words_of(view, row, base);
      ratio.tokens = part_from<MoeShape>(at_or_null(row.measured->first, "/config")).tokens;
      ratio.published_tokens = row.published->tokens;
      ratio.published = *published;
      ratio.here = *row.against;
      ratio.held = held_row(view, row, ratio.published);
      all.push_back(ratio);
    }
  }
  // Sections named by a day come first, then those named by a time of day, as in the published book.
  std::stable_sort(all.begin(), all.end(), [](const ReplayedRatio& a, const ReplayedRatio& b) {
    const auto day_first = [](const std::string& section) { return section.size() < 3 || section[2] != ':'; };
    if (day_first(a.section) != day_first(b.section)) return day_first(a.section);
    return a.section < b.section;
  });
  return all;
}

std::string replayed_sentence(const std::vector<ReplayedRatio>& ratios) {
  std::vector<std::string> parts;
  for (const Agreement agreement : all_values<Agreement>()) {
    const auto n = std::count_if(ratios.begin(), ratios.end(), [&](const ReplayedRatio& ratio) {
      return ratio.held.agreement == agreement;
    });
    parts.push_back(fmt::format("{} {}", name_of(agreement), n));
  }
  return fmt::format("published comparisons {}: {}", ratios.size(), fmt::join(parts, ", "));
}

std::string replayed_table(const std::vector<ExperimentView>& views) {
  const std::vector<ReplayedRatio> ratios = replayed_ratios(views);
  if (ratios.empty()) return "";
  const auto defect_of = [&](const ReplayedRatio& ratio) {
    for (const ExperimentView& view : views)
      if (view.experiment.name == ratio.experiment) return view.experiment.reference_defect;
    return std::string();
  };
  std::vector<std::vector<std::string>> rows;
  std::string defects, last;
  for (const ReplayedRatio& ratio : ratios) {
    const std::string defect = defect_of(ratio);
    rows.push_back(cells_of(ratio, !defect.empty()));
    if (!defect.empty() && ratio.section != last)
      defects += fmt::format("- {}: {}\n", markdown_text(ratio.section), markdown_text(defect));
    last = ratio.section;
  }
  std::string text = "Of all " + replayed_sentence(ratios) + ".\n\n" +
                     markdown_table({"published section", "comparison", "tokens", "published ratio", "here",
                                     "verdict", "why"},
                                    rows, 7);
  if (!defects.empty()) text += "\nKnown defects of the published measurements:\n\n" + defects;
  return text;
}

std::string replayed_page(const std::vector<ExperimentView>& views) {
  const std::string table = replayed_table(views);
  return "# Published results, and ours\n\n" +
         (table.empty() ? "No experiment with results replays a published comparison.\n" : table);
}

}  // namespace moehill
