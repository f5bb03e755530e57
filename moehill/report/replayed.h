// Replayed puts published ratios beside those that were measured here, and says whether they agree. Only
// ratios are compared: the machines are too different for absolute figures.
//
//     for (const ReplayedRatio& ratio : replayed_ratios(views))
//       fmt::print("{}: {}\n", ratio.words, name_of(ratio.held.agreement));
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// Agreement is how a published ratio compares with the ratio measured here.
enum class Agreement { agrees, direction, differs, within_noise, undecided };
constexpr auto words(Agreement) {
  return std::array{"agrees", "agrees in direction", "differs", "within the noise", "not decided"};
}

// Held is the verdict on one published ratio: whether it holds here.
struct Held {
  Agreement agreement = Agreement::undecided;
  std::string why;
};

// Compares a published ratio with the ratio measured here ("ours"). The noise is the largest of kNoTrend, the
// floor, and the end of our interval that is farther from 1, all as |log|. The verdict is the first of these
// that holds:
//    not decided          ours has no interval
//    agrees               ours is clear of 1 (faster, slower) and its interval holds the published ratio
//    agrees in direction  ours is clear of 1, and the published one lies on the same side by kNoTrend or more
//    differs              ours is clear of 1
//    within the noise     the noise is below kResolved, and the published difference is not larger
//    differs              the interval excludes the published ratio, which is off ours by more than the floor
//    not decided          otherwise: the interval holds both 1 and the published ratio, or the floor hides
//                         what tells ours from one of them
// A published difference below kNoTrend has no direction.
inline constexpr double kNoTrend = 0.01;
Held hold_against(double published, const Ratio& here, const std::optional<double>& floor);

// Returns the published ratio of a point's row over its baseline's; none if the rows give none. Two points
// may stand beside one published figure, which then does not say how they differ.
std::optional<double> published_ratio(const PublishedRow& row, const PublishedRow& base);

// ReplayedRatio is one published comparison and ours.
struct ReplayedRatio {
  std::string section, experiment, over, under;  // labels of the two points
  std::string words;                             // Markdown: what tells them apart, and where they agree
  int64_t tokens = 0, published_tokens = 0;
  double published = 1;
  Ratio here;
  Held held;
};

// Returns one ratio for each row that has a baseline, if both have a published figure, in the order of the
// sections.
std::vector<ReplayedRatio> replayed_ratios(std::span<const ExperimentView> views);

// Returns "published comparisons 90: agrees 31, ...".
std::string replayed_sentence(const std::vector<ReplayedRatio>& ratios);

// Returns Markdown: the sentence of replayed_sentence(), a table with a row for each comparison, and what is
// known to be wrong with the published measurements. Empty if nothing is replayed.
std::string replayed_table(const std::vector<ExperimentView>& views);

// Returns the same as a page of its own. If nothing is replayed, the page says so.
std::string replayed_page(const std::vector<ExperimentView>& views);

}  // namespace moehill
