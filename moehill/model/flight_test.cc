// Tests of how much of a pass's transfers its products do not hide, in cases that can be counted by hand.
#include "moehill/model/flight.h"

#include <gtest/gtest.h>

#include <numeric>

namespace moehill {
namespace {

TEST(Waves, RowsGoWithTheFirstOfTheirExperts) {
  EXPECT_EQ(shares_of_waves(1, 3), std::vector<double>{1});
  const std::vector<double> even = shares_of_waves(4, 1), early = shares_of_waves(4, 3);
  for (const double share : even) EXPECT_DOUBLE_EQ(share, 0.25);
  EXPECT_DOUBLE_EQ(early[0], 1 - 27.0 / 64);  // none of three experts is in the other three waves
  EXPECT_NEAR(std::accumulate(early.begin(), early.end(), 0.0), 1, 1e-12);
}

// Two devices have two tokens and two experts each. Token 0 chooses both experts of device 1, and token 1 one
// of them; tokens 2 and 3 choose one expert of device 0 each.
TEST(Waves, ExpertsOfARowAreOfThoseThatCameFromElsewhere) {
  Routing routing;
  routing.num_tokens = 4;
  routing.num_experts = 4;
  routing.topk = 2;
  routing.expert = {2, 3, 0, 3, 0, 2, 2, 1};
  for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::pad}) {
    const PlanCounts counts =
        count_plan(routing, {policy, 4}, 2);  // 8 rows for each expert, so none is dropped
    EXPECT_DOUBLE_EQ(experts_of_row(counts, 0), 1);
    EXPECT_DOUBLE_EQ(experts_of_row(counts, 1), 1.5);
  }
  EXPECT_DOUBLE_EQ(experts_of_row(count_plan(routing, {}, 1), 0), 1) << "nothing comes from elsewhere";
}

TEST(Waves, OneWaveIsHiddenByOwnRowsAlone) {
  const WavePass pass{0, 2, 30, 1, 30, 4, true};
  const std::vector<double> one = {1};
  const FlightWaits waits = waits_of(pass, one, 9, 8);
  EXPECT_DOUBLE_EQ(waits.rows, 9 - 2);      // the first product of the own rows
  EXPECT_DOUBLE_EQ(waits.sums, 8 - 1 - 4);  // the second product of the own rows, and the shared expert
}

// Without own rows, the rows of the first wave and the sums of the last are not hidden; the products hide the
// others.
TEST(Waves, ProductsOfOneWaveHideTheNext) {
  const WavePass pass{0, 0, 40, 0, 40, 0, false};
  const std::vector<double> four(4, 0.25);
  const FlightWaits waits = waits_of(pass, four, 8, 8);
  EXPECT_DOUBLE_EQ(waits.rows, 2);
  EXPECT_DOUBLE_EQ(waits.sums, 2);
}

// A link that is slower than the products is always busy: first with all rows, then with all sums. The units
// wait whenever they have no products to compute.
TEST(Waves, ASlowLinkIsNeverIdle) {
  const WavePass pass{0, 0, 4, 0, 4, 0, false};
  const std::vector<double> four(4, 0.25);
  const FlightWaits waits = waits_of(pass, four, 100, 100);
  EXPECT_DOUBLE_EQ(waits.rows, 100 - 3 * 2);  // the products of three waves run while rows travel
  EXPECT_DOUBLE_EQ(waits.sums,
                   200 - (100 + 2));  // the products of the last wave run while the first sums travel
}

TEST(Waves, WorkBeforeAndAfterHides) {
  const std::vector<double> two(2, 0.5);
  const FlightWaits waits = waits_of({10, 1, 1, 1, 1, 10, false}, two, 10, 10);
  EXPECT_DOUBLE_EQ(waits.rows, 0);
  EXPECT_DOUBLE_EQ(waits.sums, 0);
}

}  // namespace
}  // namespace moehill
