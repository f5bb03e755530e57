// Tests that every team reads more than the caches hold.
#include "moehill/quiet/cold_caches.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(ColdCaches, AllLevelsOfAllCoresThreeTimes) {
  Topology topology;
  EXPECT_EQ(cold_cache_bytes(topology), 3 << 20);  // where the system shows no cache
  topology.num_cores = 4;
  topology.l2_bytes = 1 << 20;
  topology.l3_bytes = 32 << 20;
  topology.num_l3 = 2;
  EXPECT_EQ(cold_cache_bytes(topology), 3 * 68 << 20);
}

TEST(ColdCaches, AnyTeamReads) {
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    ColdCaches cold(1 << 20, team);
    cold();
    cold();
  }
  ColdCores cores(detect_topology());
  cores();
}

}  // namespace
}  // namespace moehill
