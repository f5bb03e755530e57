// Implementation of measure/ablation_arms.h: arms are made before the run, and moved to their points after
// it.
#include "moehill/measure/ablation_arms.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

bool has_work(const Point& point, const Ablation& ablation) {
  return !ablation.stages.in_common_with(stages_of_step(point.config)).empty();
}

// Returns the words of --ablate that have work in one of the points.
std::vector<std::string> words_with_work(const std::vector<Point>& points) {
  std::vector<std::string> words;
  for (const std::string& word : split(ablation_words(), '|')) {
    const Ablation ablation = parse_ablation(word);
    if (std::any_of(points.begin(), points.end(), [&](const Point& p) { return has_work(p, ablation); }))
      words.push_back(word);
  }
  return words;
}

// Returns an arm: the point without some stages. Only its label and its folder differ besides, so that the
// difference in time comes from the stages.
Point arm_of(const Point& whole, const Ablation& ablation) {
  Point arm = whole;
  arm.config.block.ablation = ablation;
  arm.label += " without " + ablation.word;
  arm.folder += "_without-" + ablation.word;
  return arm;
}

std::vector<std::string> row_of(const PointResult& whole, const PointResult& arm) {
  std::vector<std::string> row = {arm.point.config.block.ablation.word, "-", "-", "-"};
  const std::optional<Saving> saving = saving_of(whole, arm);
  if (!saving) return row;
  const Summary& s = saving->seconds;
  row[1] = fmt::format("{:.2f}{}", 1e3 * s.median, interval_text(s.interval, "{:.2f}", 1e3));
  if (saving->clock) row[2] = fmt::format("{:.2f}", 1e3 * *saving->clock);
  row[3] = fmt::format("{:.1f}", 100 * saving->share);
  return row;
}

}  // namespace

std::vector<Point> with_ablations(const std::vector<Point>& points, const std::vector<Ablation>& ablations) {
  for (const Ablation& ablation : ablations) {
    if (std::any_of(points.begin(), points.end(), [&](const Point& p) { return has_work(p, ablation); }))
      continue;
    throw input_error("--ablate", ablation.word + ", which no point has in its step",
                      fmt::format("{}", fmt::join(words_with_work(points), ", ")),
                      "choose one of these, or options that have it");
  }
  // An arm follows its point, so that both are timed next to each other in every round.
  std::vector<Point> all;
  for (const Point& point : points) {
    all.push_back(point);
    for (const Ablation& ablation : ablations)
      if (has_work(point, ablation)) all.push_back(arm_of(point, ablation));
  }
  return all;
}

// Moves each arm from the list of points to the point that it belongs to.
void take_ablations(CommandResult& command) {
  std::vector<PointResult> wholes;
  for (PointResult& result : command.points) {
    const bool arm = !result.point.config.block.ablation.empty();
    (arm ? wholes.back().arms : wholes).push_back(std::move(result));
  }
  command.points = std::move(wholes);
}

std::optional<Saving> saving_of(const PointResult& whole, const PointResult& arm) {
  if (!whole.timed() || whole.samples.size() != arm.samples.size()) return std::nullopt;
  std::vector<double> saved;
  // Rounds are compared one by one, so that a drift of the machine between rounds cancels.
  for (size_t i = 0; i < arm.samples.size(); ++i) saved.push_back(whole.samples[i] - arm.samples[i]);
  Saving saving{summarize(saved), std::nullopt, 0};
  saving.share = saving.seconds.median / median_of(whole.samples);
  if (whole.stage_samples.empty()) return saving;
  const std::vector<double> stages = stages_of_median(whole).seconds;
  saving.clock = 0;
  for (const Stage stage : all_values<Stage>()) {
    if (arm.point.config.block.ablation.stages.has(stage))
      *saving.clock += stages[static_cast<size_t>(stage)];
  }
  return saving;
}

std::string ablation_tables(const CommandResult& command) {
  std::string text;
  for (const PointResult& whole : command.points) {
    if (whole.arms.empty()) continue;
    std::vector<std::vector<std::string>> rows;
    for (const PointResult& arm : whole.arms) rows.push_back(row_of(whole, arm));
    text +=
        fmt::format("\nablations of {}: steps without a stage, in the same rounds; not checked, no results\n",
                    whole.point.label) +
        format_table({"left out", "saves ms, median of rounds [interval]", "its clock says ms", "% of step"},
                     rows);
  }
  return text;
}

}  // namespace moehill
