// Tests of routes of rows. A spoilt route must be made again: nothing of the step before may be left to plan
// from. The number of waves follows from the bytes that are worth a message between two devices, and stays
// small.
#include "moehill/parallel/row_route.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

// Calls `on_device` on each of three devices, with its route. Each has a third of the tokens.
void on_three_devices(const RunConfig& config, const Routing& routing,
                      const std::function<void(Group&, RaggedRoute&)>& on_device) {
  ThreadMesh mesh(3, 1, {});
  mesh.run([&](Group& group) {
    RaggedRoute route(config, routing, group.rank());
    const int64_t third = config.shape.tokens / 3;
    const std::vector<int64_t> offsets{0, third, 2 * third, 3 * third};
    route.bind(routing, offsets);
    on_device(group, route);
  });
}

TEST(RaggedRoute, NothingOutlivesItsSpoiling) {
  RunConfig config{.shape = {30, 8, 8, 6, 2, 0, DType::f32}, .spread = Spread::fused, .num_devices = 3};
  config.block.capacity = {CapacityPolicy::drop, 0.8};
  const std::vector<float> logits = make_logits({}, 30, 6, 2, 1);
  const Routing routing = route_topk(logits, 30, 6, 2);
  const MemoryVisitor spoil = [](void* data, size_t bytes) { std::memset(data, 0xff, bytes); };
  on_three_devices(config, routing, [&](Group& group, RaggedRoute& route) {
    RouteWaves waves(config, route, group.rank(), 2);
    route.make(group);
    route.exchange_places(group);
    waves.make();
    const std::vector<float> weight = route.received().weight;
    const std::vector<int32_t> rows(waves.answered_row(), waves.answered_row() + 10);
    ASSERT_GT(route.num_received(), 0);
    const int64_t place = route.place_at(0);
    waves.spoil(spoil);
    route.spoil(spoil);
    EXPECT_EQ(route.place_at(0), 0);
    EXPECT_TRUE(std::isnan(route.received().weight[0]));
    for (int64_t i = 0; i < route.num_received() * 2; ++i)
      EXPECT_TRUE(std::isnan(route.received_choices()[i].weight));
    for (int64_t i = 0; i < route.num_sent() * 2; ++i)
      EXPECT_TRUE(std::isnan(route.sent_choices()[i].weight));
    for (int64_t i = 0; i < route.own().size(); ++i) EXPECT_FALSE(route.own().kept(i));
    for (int i = 0; i < 10; ++i) EXPECT_EQ(waves.answered_row()[i], -1);
    for (const int64_t cut : waves.received_cuts()) EXPECT_EQ(cut, 0);
    route.make(group);
    route.exchange_places(group);
    waves.make();
    EXPECT_EQ(route.place_at(0), place);
    EXPECT_EQ(route.received().weight, weight);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), waves.answered_row()));
  });
}

// Three devices have four experts each, in two waves of two.
TEST(RouteWaves, ARowComesWithTheFirstWaveThatNeedsItAndGoesBackAfterTheLast) {
  const RunConfig config{
      .shape = {60, 8, 8, 12, 3, 0, DType::f32}, .spread = Spread::fused, .num_devices = 3};
  const Routing routing = route_topk(make_logits({}, 60, 12, 3, 1), 60, 12, 3);
  on_three_devices(config, routing, [&](Group& group, RaggedRoute& route) {
    RouteWaves waves(config, route, group.rank(), 2);
    route.make(group);
    waves.make();
    int64_t num_done_first = 0;
    for (size_t d = 0; d < 3; ++d) {
      // Returns the wave of a place among the rows of device d, from the cuts of its two waves.
      const auto wave_at = [d](std::span<const int64_t> cuts, int64_t place) {
        EXPECT_TRUE(cuts[3 * d] <= place && place < cuts[3 * d + 2]);
        return place < cuts[3 * d + 1] ? 0 : 1;
      };
      for (int64_t i = route.receive_offsets()[d]; i < route.receive_offsets()[d + 1]; ++i) {
        int first = 1, last = 0;
        for (int64_t j = 0; j < 3; ++j) {
          const int expert = route.received_choices()[3 * i + j].expert;
          if (expert == 12) continue;  // a choice of another device's expert
          const int wave = (expert - 4 * group.rank()) / 2;
          first = std::min(first, wave);
          last = std::max(last, wave);
        }
        EXPECT_EQ(wave_at(waves.received_cuts(), waves.received_row()[i]), first);
        const int32_t* const answers = waves.answer_token();
        EXPECT_EQ(
            wave_at(waves.answer_cuts(), std::find(answers, answers + route.num_received(), i) - answers),
            last);
        num_done_first += last == 0;
      }
    }
    EXPECT_GT(num_done_first, 0);
  });
}

// All tokens choose experts of device 0. It receives exactly as many rows as its buffer holds, under every
// capacity rule that drops some.
TEST(RaggedRoute, ReceivesNoMoreThanItsBufferHas) {
  for (const Spread spread : {Spread::ragged_a2a, Spread::fused}) {
    for (const Capacity& rule :
         {Capacity{}, Capacity{CapacityPolicy::drop, 0.5}, Capacity{CapacityPolicy::pad, 0.5},
          Capacity{CapacityPolicy::drop, 0.4, 0, CapacityOrder::gate},
          Capacity{CapacityPolicy::drop, 0.4, 0, CapacityOrder::position, 4},
          Capacity{CapacityPolicy::drop, 0.4, 0, CapacityOrder::gate, 3, 3}}) {
      RunConfig config{.shape = {30, 8, 8, 6, 1, 0, DType::f32}, .spread = spread, .num_devices = 3};
      config.block.capacity = rule;
      Routing routing{30, 6, 1, std::vector<int32_t>(30), std::vector<float>(30, 0.5f)};
      for (size_t t = 0; t < 30; ++t) routing.expert[t] = static_cast<int32_t>(t % 2);
      on_three_devices(config, routing, [&](Group& group, RaggedRoute& route) {
        route.make(group);
        const int64_t most = RaggedRoute::max_received(config, group.rank());
        EXPECT_EQ(most == 30, rule.policy == CapacityPolicy::none) << most;
        if (group.rank() == 0 && rule.pool == 1) {
          EXPECT_EQ(route.num_received(), most);
        }
        EXPECT_LE(route.num_received(), most);
      });
    }
  }
}

RunConfig fused_on_eight(int64_t tokens) {
  RunConfig config{.shape = {tokens, 8, 8, 64, 1, 0, DType::f32}, .spread = Spread::fused};
  config.num_devices = 8;
  return config;
}

// Each of eight devices may have a row of every token, and the rows of all devices have numbers of 32 bits.
TEST(ReadsInPlace, AsLongAsAnInt32NumbersAllRows) {
  const int64_t too_many = int64_t{1} << 28;
  EXPECT_TRUE(reads_in_place(fused_on_eight(too_many - 1)));
  EXPECT_FALSE(reads_in_place(fused_on_eight(too_many)));
  RunConfig limited = fused_on_eight(too_many);
  limited.block.capacity = {CapacityPolicy::drop, 1};
  EXPECT_TRUE(reads_in_place(limited));
}

TEST(ReadsInPlace, OnlyRowsThatKeepTheirTypeAndComeAtOnce) {
  RunConfig in_waves = fused_on_eight(64), on_wire = in_waves, other = in_waves, ring = in_waves;
  ring.spread = Spread::ring_ag_rs;
  EXPECT_TRUE(reads_in_place(ring));
  in_waves.num_waves = 1;
  on_wire.wire = Wire::fp8_scales;
  other.spread = Spread::ragged_a2a;
  EXPECT_TRUE(reads_in_place(fused_on_eight(64)));
  for (const RunConfig& config : {in_waves, on_wire, other}) EXPECT_FALSE(reads_in_place(config));
}

int waves(MoeShape shape, int devices) {
  return default_waves({.shape = shape, .spread = Spread::fused, .num_devices = devices});
}

TEST(DefaultWaves, AreWorthAMessage) {
  const auto of_tokens = [](int64_t tokens) {
    return waves({tokens, 1024, 64, 64, 1, 0, DType::bf16},
                 2);  // half of T / 2 rows of 2 KiB go to the other
  };
  EXPECT_EQ(of_tokens(1), 1);
  EXPECT_EQ(of_tokens(1023), 1);
  EXPECT_EQ(of_tokens(1024), 2);
  EXPECT_EQ(of_tokens(2048), 4);
  EXPECT_EQ(of_tokens(int64_t{1} << 20), 8);
}

TEST(DefaultWaves, AreOfOneExpertAtLeast) {
  const auto of_experts = [](int experts, int devices) {
    return waves({1 << 20, 1024, 64, experts, 1, 0, DType::bf16}, devices);
  };
  EXPECT_EQ(of_experts(1, 2), 1);
  EXPECT_EQ(of_experts(3, 2), 2);
  EXPECT_EQ(of_experts(7, 9), 1);
  EXPECT_EQ(of_experts(12, 2), 6);
}

}  // namespace
}  // namespace moehill
