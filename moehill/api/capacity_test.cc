// Tests of every capacity rule under every path: results pass the check, and the check fails a step that
// drops what another rule would drop.
#include <gtest/gtest.h>

#include "moehill/api/run_fixture.h"
#include "moehill/routing/capacity_limiter.h"

namespace moehill {
namespace {

constexpr MoeShape kOddWithoutShared{37, 45, 27, 7, 3, 0, DType::f32};

struct Rule {
  const char* name;
  Capacity capacity;
};
// With `sources` 0 there are as many sources as devices.
const Rule kRules[] = {
    {"position", {}},
    {"gate", {.order = CapacityOrder::gate}},
    {"pool", {.pool = 3}},
    {"pool by gate", {.order = CapacityOrder::gate, .pool = 2}},
    {"source", {.sources = 0}},
    {"source, pool by gate", {.order = CapacityOrder::gate, .pool = 2, .sources = 0}},
    {"spill", {.spares = 2}},
    {"spill by gate", {.order = CapacityOrder::gate, .spares = 3}},
    {"spill in a source", {.sources = 0, .spares = 2}},
};

RunConfig dropping_config(const Rule& rule, Spread spread, int devices) {
  RunConfig config{.shape = kOddWithoutShared};
  config.spread = spread;
  config.num_devices = devices;
  config.block.capacity = rule.capacity;
  config.block.capacity.policy = CapacityPolicy::drop;
  config.block.capacity.factor = 0.75;
  if (rule.capacity.sources == 0) config.block.capacity.sources = devices;
  return config;
}

using CapacityTest = RunFixture;

TEST_F(CapacityTest, EveryRuleUnderEveryPath) {
  for (const Rule& rule : kRules) {
    std::vector<RunConfig> configs = {dropping_config(rule, Spread::none, 1)};
    for (const int devices : {2, 3, 4, 9}) {
      configs.push_back(dropping_config(rule, Spread::dp, devices));
      for (const Spread path : kEpPaths) configs.push_back(dropping_config(rule, path, devices));
    }
    for (const RunConfig& config : configs) {
      const auto run = step(config);
      const CheckResult result = check(run->tensors());
      EXPECT_TRUE(result.numbers_ok) << rule.name << " " << name_of(config.spread) << " on "
                                     << config.num_devices << ": " << result.reason;
      EXPECT_GT(run->num_dropped() + run->num_spilled(), 0) << rule.name;
      EXPECT_EQ(run->num_spilled() > 0, config.block.capacity.spares > 0) << rule.name;
    }
  }
}

// The planted fault is a step that follows another rule.
TEST_F(CapacityTest, TheCheckSeesEachOtherRule) {
  const auto configured = [](const Rule& rule) { return dropping_config(rule, Spread::ragged_a2a, 3); };
  for (const Rule& stepped : kRules) {
    const auto run = step(configured(stepped));
    for (const Rule& claimed : kRules) {
      const Capacity capacity = configured(claimed).block.capacity;
      Routing routing = factory_.make(configured(claimed))->routing();
      const Routing limited = apply_capacity(routing, capacity);
      std::vector<int32_t> kept(limited.expert.size());
      BlockTensors tensors = run->tensors();
      bool is_same = true;
      for (size_t a = 0; a < kept.size(); ++a) {
        kept[a] = limited.expert[a] != kNoExpert;
        if (kept[a] != 0) routing.expert[a] = limited.expert[a];
        is_same &= kept[a] == tensors.kept[a] && routing.expert[a] == tensors.routing->expert[a];
      }
      EXPECT_EQ(is_same, &stepped == &claimed) << stepped.name << " as " << claimed.name;
      tensors.kept = kept.data();
      tensors.routing = &routing;
      EXPECT_EQ(check(tensors).numbers_ok, &stepped == &claimed) << stepped.name << " as " << claimed.name;
    }
  }
}

}  // namespace
}  // namespace moehill
