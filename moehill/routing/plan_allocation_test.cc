// Building a plan allocates nothing; an operator new that counts shows it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "moehill/routing/plan.h"
#include "moehill/routing/test_routings.h"

namespace {
std::atomic<int64_t> num_allocations{0};

void* counted(std::size_t size) {
  num_allocations.fetch_add(1);
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  num_allocations.fetch_add(1);
  return std::malloc(size ? size : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace moehill {
namespace {

// Counts the allocations of the first build and of the next ones, for routings whose plans differ in their
// number of rows.
int64_t allocations_of_builds(PackStrategy strategy, Capacity capacity, PlanScope scope) {
  ThreadTeam team(3);
  PlanBuilder builder({500, 16, 4, 3, 9, strategy, capacity, scope, 3});
  const Routing routings[] = {random_routing(500, 16, 4, 5, 1), random_routing(500, 16, 4, 0, 2),
                              random_routing(500, 16, 4, 1, 3)};
  RoutingPlan plan = builder.make_plan();
  const int64_t before = num_allocations.load();
  for (const Routing& routing : routings) builder.build(routing, team, plan);
  return num_allocations.load() - before;
}

TEST(PlanAllocation, TheCounterCounts) {
  const int64_t before = num_allocations.load();
  const std::vector<int> some(10);
  EXPECT_EQ(num_allocations.load() - before, 1) << some.size();
  EXPECT_GT(allocations_of_builds(PackStrategy::argsort, {}, PlanScope::local), 0)
      << "std::stable_sort's buffer";
}

TEST(PlanAllocation, NoneInBuild) {
  for (const PackStrategy strategy :
       {PackStrategy::counting_sort, PackStrategy::tuple_sort, PackStrategy::expert_score_sort}) {
    for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
      for (const PlanScope scope : {PlanScope::local, PlanScope::masked}) {
        EXPECT_EQ(allocations_of_builds(strategy, {policy, 1.1}, scope), 0)
            << "strategy " << static_cast<int>(strategy) << ", policy " << static_cast<int>(policy);
      }
    }
  }
}

}  // namespace
}  // namespace moehill
