// Tests the topology of this machine, its cores and caches, and that affinity masks limit it.
#include "moehill/machine/topology.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

bool may_run_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(static_cast<unsigned>(cpu), &set);
}

TEST(Topology, OneAllowedCpuForEachCore) {
  const Topology topology = detect_topology();
  ASSERT_GE(topology.num_cores, 1);
  EXPECT_EQ(static_cast<size_t>(topology.num_cores), topology.core_cpus.size());
  const std::set<int> different(topology.core_cpus.begin(), topology.core_cpus.end());
  EXPECT_TRUE(different.contains(kAnyCpu) || different.size() == topology.core_cpus.size());
  EXPECT_LE(topology.core_cpus.size(), std::thread::hardware_concurrency());
  for (const int cpu : topology.core_cpus) EXPECT_TRUE(cpu == kAnyCpu || may_run_on(cpu)) << cpu;
  EXPECT_EQ(core_cpus(), topology.core_cpus);
  ASSERT_EQ(topology.core_numa.size(), topology.core_cpus.size());
  for (const int node : topology.core_numa) {
    EXPECT_GE(node, 0);
    EXPECT_LT(node, topology.num_numa_nodes);
  }
}

TEST(Topology, CachesGrowWithTheirLevel) {
  const Topology topology = detect_topology();
  EXPECT_FALSE(topology.cpu_model.empty());
  EXPECT_FALSE(topology.cpu_model.ends_with(' ')) << topology.cpu_model;
  EXPECT_GE(topology.num_numa_nodes, 1);
  if (topology.l1d_bytes == 0 || topology.l2_bytes == 0)
    GTEST_SKIP() << "this machine does not show its caches";
  EXPECT_GE(topology.l1d_bytes, 4096);
  EXPECT_GT(topology.l2_bytes, topology.l1d_bytes);
  EXPECT_EQ(topology.l3_bytes > 0, topology.num_l3 > 0);
}

// This runs in a child process, because the affinity of all threads of the process counts.
TEST(TopologyDeathTest, TheAffinityMaskLimitsTheCores) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int last = core_cpus().back();
  EXPECT_EXIT(
      {
        const bool pinned = pin_this_thread(last);
        std::exit(pinned && core_cpus() == std::vector<int>{last} ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(TopologyDeathTest, AllowingCpusUndoesABinding) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const std::vector<int> before = allowed_cpus();
        const bool pinned =
            pin_this_thread(before.back()) && allowed_cpus() == std::vector<int>{before.back()};
        allow_cpus(before);
        std::exit(pinned && allowed_cpus() == before ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(Topology, TheParentsMaskIsRead) {
  const std::vector<int> parents = allowed_cpus_of_parent();
  ASSERT_FALSE(parents.empty());
  const std::vector<int> own = allowed_cpus();
  EXPECT_TRUE(std::includes(parents.begin(), parents.end(), own.begin(), own.end()));
}

// hwloc can be told to show another machine. No thread may be pinned to a CPU of that one.
TEST(TopologyDeathTest, NobodyIsPinnedOnAMachineThatHwlocWasToldOf) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("HWLOC_SYNTHETIC", "numa:2 core:4 pu:2", 1);
        const Topology topology = detect_topology();
        const bool right = topology.core_cpus == std::vector<int>(topology.num_cores, kAnyCpu);
        std::exit(right && topology.core_numa.size() == topology.core_cpus.size() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// Threads are pinned all the same, since only the size of the cache is told.
TEST(TopologyDeathTest, TheSizeOfL3MayBeTold) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const std::vector<int> cpus = core_cpus();
        setenv("MOEHILL_L3", "3M", 1);
        const Topology topology = detect_topology();
        std::exit(topology.l3_bytes == 3 << 20 && topology.num_l3 > 0 && topology.core_cpus == cpus ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        setenv("MOEHILL_L3", "much", 1);
        try {
          detect_topology();
        } catch (const InputError& error) {
          std::exit(std::string(error.what()).find("MOEHILL_L3") != std::string::npos ? 0 : 1);
        }
        std::exit(2);
      },
      testing::ExitedWithCode(0), "");
}

TEST(Pinning, AScopePutsTheAffinityBack) {
  const std::vector<int> cpus = core_cpus();
  {
    const PinScope pin(cpus.back());
    EXPECT_EQ(sched_getcpu(), cpus.back());
    EXPECT_EQ(may_run_on(cpus.front()), cpus.size() == 1);
  }
  for (const int cpu : cpus) EXPECT_TRUE(may_run_on(cpu));
}

TEST(Pinning, ACpuThatDoesNotExistIsRefused) {
  EXPECT_FALSE(pin_this_thread(-1));
  EXPECT_FALSE(pin_this_thread(1 << 20));
}

}  // namespace
}  // namespace moehill
