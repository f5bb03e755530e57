#include "moehill/mesh/wait_limit.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace moehill {
namespace {

class WaitLimit : public testing::Test {
 protected:
  ~WaitLimit() override {
    set_wait_limit(0);
    set_rank_hosts({});
  }
  static void sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }
};

TEST_F(WaitLimit, ThereIsNoneAtFirst) {
  Patience patience("a barrier");
  sleep();
  EXPECT_FALSE(patience.is_over());
}

TEST_F(WaitLimit, EndsAWaitAndNamesWhoIsMissing) {
  set_wait_limit(0.01);
  set_rank_hosts({"a", "b"});
  Patience patience("all_to_all");
  EXPECT_NO_THROW(patience.check([] { return rank_name(1); }));
  sleep();
  try {
    patience.check([] { return rank_name(1); });
    ADD_FAILURE() << "no end";
  } catch (const WaitedTooLong& error) {
    const std::string told = error.what();
    EXPECT_EQ(told.find("all_to_all: waited 0 s for rank 1 on b;"), 0u) << told;
    EXPECT_NE(told.find("--timeout"), std::string::npos) << told;
  }
}

TEST_F(WaitLimit, AWaitThatGetsOnMayGoOn) {
  set_wait_limit(0.01);
  Patience patience("a gather");
  const auto missing = [] { return std::string("rank 1"); };
  for (size_t progress = 1; progress < 4; ++progress) {
    sleep();
    EXPECT_NO_THROW(patience.check(progress, missing));
  }
  sleep();
  EXPECT_THROW(patience.check(3, missing), WaitedTooLong);
}

TEST_F(WaitLimit, IsLongerWhileTheFirstProcessWorksAlone) {
  set_wait_limit(0.01);
  {
    const LongerWaits longer;
    EXPECT_DOUBLE_EQ(wait_limit(), 0.01 * LongerWaits::kTimes);
    Patience patience("a barrier");
    sleep();
    EXPECT_FALSE(patience.is_over());
  }
  EXPECT_DOUBLE_EQ(wait_limit(), 0.01);
}

TEST_F(WaitLimit, NamesAFewOfManyRanks) {
  set_rank_hosts({"a"});
  EXPECT_EQ(rank_names({0, 1}), "rank 0 on a, rank 1");
  EXPECT_EQ(rank_names({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
            "rank 1, rank 2, rank 3, rank 4, rank 5, rank 6, rank 7, rank 8, 2 more");
}

TEST_F(WaitLimit, ACallThatCannotBeLookedIntoEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        set_wait_limit(0.2);
        const WatchedCall call("MPI_Barrier");
        std::this_thread::sleep_for(std::chrono::seconds(20));
      },
      testing::ExitedWithCode(5), "moehill: MPI_Barrier: waited 0 s for the other processes");
}

}  // namespace
}  // namespace moehill
