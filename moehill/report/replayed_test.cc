// Tests of published ratios compared with ours: each verdict by values, and by a database in which it holds.
#include "moehill/report/replayed.h"

#include <gtest/gtest.h>

#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

constexpr double kFloor = 0.01;

Agreement held(double published, double here, double lo, double hi) {
  return hold_against(published, {here, 5, Interval{lo, hi, 0.95}, true}, kFloor).agreement;
}

TEST(HoldAgainst, ClearDifferencesAgreeInSizeOrDirectionOrDiffer) {
  EXPECT_EQ(held(1.20, 1.18, 1.15, 1.22), Agreement::agrees);
  EXPECT_EQ(held(2.00, 1.18, 1.15, 1.22), Agreement::direction);
  EXPECT_EQ(held(0.75, 0.90, 0.88, 0.92), Agreement::direction);
  EXPECT_EQ(held(0.75, 1.18, 1.15, 1.22), Agreement::differs);
  EXPECT_EQ(held(0.998, 1.18, 1.15, 1.22), Agreement::differs);
}

TEST(HoldAgainst, NoDifferenceHereIsHeldAgainstTheSizeOfThePublishedOne) {
  EXPECT_EQ(held(1.005, 1.00, 0.98, 1.02), Agreement::within_noise);
  EXPECT_EQ(held(1.005, 1.00, 0.995, 1.005), Agreement::within_noise);  // the floor is wider
  EXPECT_EQ(held(0.75, 1.00, 0.98, 1.02), Agreement::differs);
  EXPECT_EQ(held(0.96, 1.00, 0.98, 1.02), Agreement::differs);
}

TEST(HoldAgainst, NoiseAboveFivePercentDecidesOnlyWhatItExcludes) {
  EXPECT_EQ(held(1.005, 1.00, 0.90, 1.10), Agreement::undecided);
  EXPECT_EQ(held(1.08, 1.00, 0.90, 1.10), Agreement::undecided);
  EXPECT_EQ(held(1.50, 1.00, 0.90, 1.10), Agreement::differs);
  EXPECT_EQ(hold_against(1.5, {1.0, 2, {}, true}, kFloor).agreement, Agreement::undecided);
}

// The floor keeps these from a verdict, although the interval holds 1, or p, or neither.
TEST(HoldAgainst, SaysWhatTheIntervalHoldsIfNothingIsDecided) {
  const auto why = [](double published, double here, double lo, double hi, double floor) {
    const Held verdict = hold_against(published, {here, 5, Interval{lo, hi, 0.95}, true}, floor);
    EXPECT_EQ(verdict.agreement, Agreement::undecided);
    return verdict.why;
  };
  EXPECT_EQ(why(1.045, 1.02, 1.01, 1.03, 0.03),
            "the published ratio is off ours by no more than the noise floor of 3.0 %");
  EXPECT_EQ(why(1.035, 1.01, 0.99, 1.03, 0.03),
            "the published ratio is off ours by no more than the noise floor of 3.0 %");
  EXPECT_EQ(why(1.065, 1.03, 1.01, 1.07, 0.06),
            "our interval holds the published ratio, but ours is within the noise of 6.2 % around 1");
  EXPECT_EQ(why(1.08, 1.00, 0.90, 1.10, 0.03),
            "our interval holds both 1 and the published ratio, at a noise of 11.1 %");
}

// Returns two rows as in the published file, the first for `none` and the second for `ep`.
std::vector<PublishedRow> published_as(double none, double ep) {
  std::string text =
      "section,parallel_mode,hidden,mlp_dim,experts,topk,shared,tokens,pass,extra,tflops,tokens_per_s\n";
  for (const auto& [mode, tflops] : {std::pair("none", none), std::pair("ep", ep)})
    text +=
        fmt::format("13:40 EP vs Non-EP,{},2048,1408,60,2,5632,32768,forward_backward,,{},\n", mode, tflops);
  return parse_published(text, "test");
}

std::string table(double published_ep, const Planted& planted) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  fill_replayed(store, replayed_experiment(), planted);
  return replayed_table(load_views(store, published_as(100, published_ep)));
}

void expect_row(const std::string& table, const std::string& published, const std::string& end) {
  EXPECT_NE(table.find("| 13:40 EP vs Non-EP | `parallel_mode=ep` over `parallel_mode=none` at `topk=2` | "
                       "256 of 32768 | " +
                       published + " | "),
            std::string::npos)
      << table;
  EXPECT_NE(table.find(end), std::string::npos) << table;
}

TEST(ReplayedTable, SaysOfEachComparisonWhetherItAgrees) {
  expect_row(table(75, {4.0 / 3, 0.01}), "0.750",
             "| agrees | our interval holds the published ratio; known defect |");
  expect_row(table(75, {1.1, 0.001}), "0.750", "| agrees in direction | the same direction, smaller here");
  expect_row(table(75, {0.9, 0.001}), "0.750", "| differs | the other way here");
  expect_row(table(99.5, {1.0, 0.001}), "0.995", "| within the noise | no difference beyond");
  expect_row(table(75, {1.0, 0.001}), "0.750", "| differs | published -25.0 %, here none so large");
  expect_row(table(95, {1.0, 0.2}), "0.950",
             "| not decided | our interval holds both 1 and the published ratio");
}

TEST(ReplayedTable, CountsAndNamesDefectsOnceASection) {
  const std::string text = table(75, {1.1, 0.001, false});
  EXPECT_EQ(text.find("Of all published comparisons 1: agrees 0, agrees in direction 1, differs 0"), 0u)
      << text;
  const size_t defect = text.find("- 13:40 EP vs Non-EP: one chip against four\n");
  ASSERT_NE(defect, std::string::npos) << text;
  EXPECT_EQ(text.find("one chip against four", defect + 30), std::string::npos);
}

TEST(ReplayedTable, IsEmptyWhereNothingIsReplayed) { EXPECT_EQ(replayed_table({}), ""); }

}  // namespace
}  // namespace moehill
