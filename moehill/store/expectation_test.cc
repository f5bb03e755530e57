#include "moehill/store/expectation.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

TEST(Expectation, ReadsTheFormOfTheContract) {
  const Expectation e =
      parse_expectation("ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 8");
  EXPECT_EQ(e.numerator, (std::vector<AxisValue>{{"parallel_mode", "ep"}}));
  EXPECT_EQ(e.denominator, (std::vector<AxisValue>{{"parallel_mode", "none"}}));
  EXPECT_EQ(e.at, (std::vector<AxisValue>{{"topk", "8"}}));
  EXPECT_EQ(e.relation, Relation::at_least);
  EXPECT_EQ(e.threshold, 1.0);
}

TEST(Expectation, TheDenominatorBeginsWhereTheFirstAxisReturns) {
  const Expectation e = parse_expectation("ratio(a=1,b=x,a=2,b='y, (z)')<-2.5e-1 at c = \"d e\", f=0.5");
  EXPECT_EQ(e.numerator, (std::vector<AxisValue>{{"a", "1"}, {"b", "x"}}));
  EXPECT_EQ(e.denominator, (std::vector<AxisValue>{{"a", "2"}, {"b", "y, (z)"}}));
  EXPECT_EQ(e.at, (std::vector<AxisValue>{{"c", "d e"}, {"f", "0.5"}}));
  EXPECT_EQ(e.relation, Relation::below);
  EXPECT_EQ(e.threshold, -0.25);
}

TEST(Expectation, RefusesWhatIsNotOfTheForm) {
  for (const char* text :
       {"", "ratio", "ratio(", "ratio()", "ratio(a = 1) >= 1", "ratio(a = 1, b = 2) >= 1",
        "ratio(a = 1, a = 2) == 1", "ratio(a = 1, a = 2) >=", "ratio(a = 1, a = 2) >= x",
        "ratio(a = 1, a = 2) >= nan", "ratio(a = 1, a = 2) >= 1 at", "ratio(a = 1, a = 2) >= 1 when b = 1",
        "ratio(a = 1, a = 2) >= 1 at b = 1 c", "ratio(a = 1, a = 'x) > 1", "ratio(a 1, a = 2) > 1",
        "mean(a = 1, a = 2) > 1", "ratio(a = , a = 2) > 1"}) {
    EXPECT_THROW(parse_expectation(text), InputError) << text;
  }
}

TEST(Expectation, MatchesNumbersAsNumbersAndTextAsText) {
  const StoredJson axes = {{"topk", 8}, {"mode", "ep"}, {"factor", 1.25}, {"fused", true}};
  EXPECT_TRUE(matches({{"topk", "8"}, {"mode", "ep"}, {"fused", "true"}}, axes));
  EXPECT_TRUE(matches({{"topk", "8.0"}, {"factor", "1.250"}}, axes));
  EXPECT_TRUE(matches({}, axes));
  EXPECT_FALSE(matches({{"topk", "80"}}, axes));
  EXPECT_FALSE(matches({{"mode", "none"}}, axes));
  EXPECT_FALSE(matches({{"absent", "8"}}, axes));
}

TEST(Expectation, MeetsItsThresholdByItsOperator) {
  EXPECT_TRUE(is_met(parse_expectation("ratio(a = 1, a = 2) >= 1"), 1));
  EXPECT_FALSE(is_met(parse_expectation("ratio(a = 1, a = 2) > 1"), 1));
  EXPECT_TRUE(is_met(parse_expectation("ratio(a = 1, a = 2) <= 1"), 1));
  EXPECT_FALSE(is_met(parse_expectation("ratio(a = 1, a = 2) < 1"), 1));
  EXPECT_TRUE(is_met(parse_expectation("ratio(a = 1, a = 2) < 1"), 0.5));
}

}  // namespace
}  // namespace moehill
