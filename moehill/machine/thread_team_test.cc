// Tests teams of threads of several sizes: each member runs each task once, exceptions reach the caller, and
// members stay on their CPUs.
#include "moehill/machine/thread_team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <numeric>
#include <stdexcept>
#include <string>

#include "moehill/machine/pinning.h"
#include "moehill/machine/topology.h"

namespace moehill {
namespace {

class ThreadTeamSizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamSizes, testing::Values(1, 2, 3, 4, 5));

TEST_P(ThreadTeamSizes, EveryMemberRunsOnceOnAThreadOfItsOwn) {
  ThreadTeam team(GetParam());
  EXPECT_EQ(team.size(), GetParam());
  std::vector<std::thread::id> ids(static_cast<size_t>(GetParam()));
  std::vector<int> calls(ids.size(), 0);
  team.run([&](int i) {
    ids[static_cast<size_t>(i)] = std::this_thread::get_id();
    ++calls[static_cast<size_t>(i)];
  });
  EXPECT_EQ(calls, std::vector<int>(ids.size(), 1));
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  for (size_t i = 0; i < ids.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(ids[i], ids[j]);
  }
}

// Plain (not atomic) counters: a task that overlaps the one before it loses counts, and ThreadSanitizer sees
// it.
TEST_P(ThreadTeamSizes, ThousandsOfTinyTasksHandOverTheirResults) {
  constexpr int kTasks = 3000;
  ThreadTeam team(GetParam());
  std::vector<int64_t> counts(static_cast<size_t>(GetParam()), 0);
  int64_t total = 0;
  for (int task = 0; task < kTasks; ++task) {
    team.run([&](int i) { counts[static_cast<size_t>(i)] += task + total % 2; });
    total += std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }
  for (const int64_t count : counts) EXPECT_EQ(count, counts[0]);
}

TEST_P(ThreadTeamSizes, ParallelForCoversTheRangeOnce) {
  ThreadTeam team(GetParam());
  for (const int64_t n : {0, 1, 2, 3, 4, 5, 6, 1000, 1001}) {
    std::vector<int> touched(static_cast<size_t>(n), 0);
    team.parallel_for(n, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++touched[static_cast<size_t>(i)];
    });
    EXPECT_EQ(touched, std::vector<int>(static_cast<size_t>(n), 1));
  }
}

TEST_P(ThreadTeamSizes, AnExceptionOfAnyMemberReachesTheCallerAndTheTeamGoesOn) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 20; ++round) {
    for (int thrower = 0; thrower < GetParam(); ++thrower) {
      std::atomic<int> finished{0};
      std::string caught;
      try {
        team.run([&](int i) {
          if (i == thrower) throw std::runtime_error("member " + std::to_string(i));
          ++finished;
        });
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      EXPECT_EQ(caught, "member " + std::to_string(thrower));
      EXPECT_EQ(finished, GetParam() - 1);
      team.run([&](int) { ++finished; });
      EXPECT_EQ(finished, 2 * GetParam() - 1);
    }
  }
}

TEST_P(ThreadTeamSizes, WhenAllMembersThrowOneExceptionArrives) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(team.run([](int i) { throw i; }), int);
  }
}

TEST_P(ThreadTeamSizes, TeamsEndWhereverTheirThreadsAre) {
  for (int round = 0; round < 50; ++round) {
    ThreadTeam never_used(GetParam());
    ThreadTeam used(GetParam());
    used.run([](int) {});
  }
  ThreadTeam asleep(GetParam());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

// More threads than cores, from several callers with a team each.
TEST(ThreadTeam, ManyTeamsShareTheCores) {
  std::atomic<int> calls{0};
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&] {
        ThreadTeam team(3);
        for (int task = 0; task < 200; ++task)
          team.run([&](int) { calls.fetch_add(1, std::memory_order_relaxed); });
      });
    }
  }
  EXPECT_EQ(calls, 4 * 3 * 200);
}

TEST(ThreadTeam, MembersStayOnTheirCpus) {
  const std::vector<int> cpus = core_cpus();
  std::thread([&] {
    ThreadTeam team(static_cast<int>(cpus.size()), cpus);
    const PinScope pin(cpus[0]);
    std::vector<int> seen(cpus.size());
    team.run([&](int i) { seen[static_cast<size_t>(i)] = sched_getcpu(); });
    EXPECT_EQ(seen, cpus);
  }).join();
}

TEST(ThreadTeamDeathTest, TeamsWithoutMembersAndTasksInsideTasksAreBugs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(ThreadTeam(0), "a team of 0 threads");
  EXPECT_DEATH(ThreadTeam(2, {0}), "1 CPUs for 2 threads");
  EXPECT_DEATH(
      {
        ThreadTeam team(2);
        team.run([&](int i) {
          if (i == 0) team.run([](int) {});
        });
      },
      "one task at a time");
}

}  // namespace
}  // namespace moehill
