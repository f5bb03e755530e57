// Compares the counts of a plan with plain loops over its assignments.
#include "moehill/model/plan_counts.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "moehill/base/partition.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

constexpr int64_t kTokens = 41;
constexpr int kExperts = 7;

// Returns the device that has thing i of n, of which each device has a contiguous share.
int device_of(int64_t i, int64_t n, int num_devices) {
  int device = 0;
  while (i >= share(n, device, num_devices).end) ++device;
  return device;
}

// Every tenth assignment has no expert.
Routing some_routing() {
  Routing routing = random_routing(kTokens, kExperts, 3, 1, 5);
  for (size_t a = 4; a < routing.expert.size(); a += 10) routing.expert[a] = kNoExpert;
  return routing;
}

// Calls body(token, expert, its device) for each assignment that has an expert.
template <typename Body>
void for_each_assignment(const Routing& routing, int num_devices, const Body& body) {
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    const int32_t expert = routing.expert[a];
    if (expert == kNoExpert) continue;
    body(static_cast<int64_t>(a) / routing.topk, expert, device_of(expert, kExperts, num_devices));
  }
}

TEST(PlanCounts, AreThoseOfPlainLoops) {
  const Routing routing = some_routing();
  for (const int devices : {1, 2, 3, 5, 9}) {
    const PlanCounts counts = count_plan(routing, {}, devices);
    int64_t num_kept = 0;
    std::vector<int64_t> kept(kExperts), local(static_cast<size_t>(devices) * kExperts),
        computed(static_cast<size_t>(devices));
    std::set<std::pair<int64_t, int>> rows;  // (token, device)
    for_each_assignment(routing, devices, [&](int64_t token, int32_t expert, int device) {
      ++num_kept;
      ++kept[static_cast<size_t>(expert)];
      ++local[static_cast<size_t>(device_of(token, kTokens, devices) * kExperts + expert)];
      ++computed[static_cast<size_t>(device)];
      rows.insert({token, device});
    });
    EXPECT_EQ(counts.num_kept, num_kept);
    EXPECT_EQ(counts.kept, kept);
    EXPECT_EQ(counts.local_kept, local);
    EXPECT_EQ(counts.capacity_rows, 0);
    for (int to = 0; to < devices; ++to) {
      int64_t received = 0;
      for (int from = 0; from < devices; ++from) {
        int64_t expected = 0;
        for (const auto& [token, device] : rows)
          expected += device == to && device_of(token, kTokens, devices) == from;
        EXPECT_EQ(counts.pair_rows(from, to), expected) << from << " to " << to << " of " << devices;
        received += expected;
      }
      EXPECT_EQ(counts.rows_received(to), received);
      EXPECT_EQ(counts.rows_computed(to), computed[static_cast<size_t>(to)]);
    }
  }
}

TEST(PlanCounts, OfACapacityAreThoseOfWhatItKeeps) {
  const Routing routing = some_routing();
  for (const CapacityPolicy policy : {CapacityPolicy::drop, CapacityPolicy::pad}) {
    const Capacity capacity{policy, 0.5};
    const PlanCounts counts = count_plan(routing, capacity, 3),
                     limited = count_plan(apply_capacity(routing, capacity), {}, 3);
    EXPECT_EQ(counts.capacity.policy, policy);
    EXPECT_EQ(counts.capacity.factor, 0.5);
    EXPECT_EQ(counts.kept, limited.kept);
    EXPECT_EQ(counts.pairs, limited.pairs);
    EXPECT_LT(counts.num_kept, count_plan(routing, {}, 3).num_kept);
    EXPECT_EQ(counts.capacity_rows, 9) << "0.5 of 123 assignments over 7 experts";
    EXPECT_EQ(counts.rows_of_expert(6), policy == CapacityPolicy::pad ? 9 : counts.kept[6]);
  }
}

// A row goes to a node once, and there from the rank where it lands to each rank that needs it.
TEST(PlanCounts, OfTwoLevelsAreThoseOfPlainLoops) {
  const Routing routing = some_routing();
  constexpr int kDevices = 5;
  const Nodes nodes = Nodes::of_size(kDevices, 2);
  const PlanCounts counts = count_plan(routing, {}, kDevices, nodes);
  std::set<std::pair<int64_t, int>> to_node, to_device;
  for_each_assignment(routing, kDevices, [&](int64_t token, int32_t, int device) {
    to_node.insert({token, nodes.of(device)});
    to_device.insert({token, device});
  });
  for (int from = 0; from < kDevices; ++from) {
    for (int to = 0; to < kDevices; ++to) {
      int64_t across = 0, inside = 0;
      for (const auto& [token, node] : to_node) {
        const int sender = device_of(token, kTokens, kDevices);
        across += sender == from && node == nodes.of(to) && nodes.landing_rank(sender, node) == to;
      }
      for (const auto& [token, device] : to_device) {
        const int sender = device_of(token, kTokens, kDevices);
        inside += device == to && nodes.landing_rank(sender, nodes.of(to)) == from;
      }
      EXPECT_EQ(counts.across_rows(from, to), across) << from << " to " << to;
      EXPECT_EQ(counts.inside_rows(from, to), inside) << from << " to " << to;
    }
  }
}

}  // namespace
}  // namespace moehill
