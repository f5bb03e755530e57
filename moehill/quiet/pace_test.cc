// Tests of the estimates, on a scripted clock.
#include "moehill/quiet/pace.h"

#include <gtest/gtest.h>

#include <vector>

namespace moehill {
namespace {

// Returns what a pace of six parts, each of `part_s` seconds, has told after each part.
std::vector<std::string> told(double part_s) {
  double now = 100;
  std::string last;
  Pace pace(
      6, "6 parts", [&](const std::string& line) { last += line; }, [&] { return now; });
  std::vector<std::string> lines;
  for (int i = 0; i < 6; ++i) {
    now += part_s;
    pace.done(1);
    lines.push_back(last);
  }
  return lines;
}

TEST(Pace, SaysOnceHowLongAllWillTake) {
  EXPECT_EQ(told(8), std::vector<std::string>(6, "about 48 s: 6 parts"));
}

TEST(Pace, SaysNothingOfWhatIsSoonOver) {
  EXPECT_EQ(told(1.5), std::vector<std::string>(6));
  EXPECT_EQ(told(0.01), std::vector<std::string>(6));
}

TEST(Pace, OnePartIsNoEstimateWhenItIsOver) {
  double now = 0;
  Pace pace(
      1, "a part", [](const std::string& line) { ADD_FAILURE() << line; }, [&] { return now; });
  now = 60;
  pace.done(1);
}

TEST(Pace, OnePointAndOneRoundAreSingular) {
  EXPECT_EQ(points_and_rounds(12, 5), "12 points x 5 rounds");
  EXPECT_EQ(points_and_rounds(1, 1), "1 point x 1 round");
}

TEST(Pace, EstimatesHaveTheDigitsTheyAreWorth) {
  EXPECT_EQ(estimate_words(9.9, "x"), "");
  EXPECT_EQ(estimate_words(41.7, "12 points x 5 rounds"), "about 42 s: 12 points x 5 rounds");
  EXPECT_EQ(estimate_words(200, "x"), "about 3.3 min: x");
  EXPECT_EQ(estimate_words(7200, "x"), "about 2 h: x");
}

}  // namespace
}  // namespace moehill
