// Each skewed distribution keeps its promise, the promise is checked, and an impossible one is refused.
#include "moehill/routing/skew.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "moehill/base/error.h"
#include "moehill/routing/route_tokens.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

DistributionOptions zipf(double exponent) { return {.kind = Distribution::zipf, .zipf_exponent = exponent}; }
DistributionOptions hot(int64_t num, double share) {
  return {.kind = Distribution::hot_experts, .num_hot = num, .hot_share = share};
}
DistributionOptions hot_device(int devices, double share) {
  return {.kind = Distribution::hot_device, .hot_share = share, .devices = devices};
}
DistributionOptions balanced(int devices = 1) { return {.kind = Distribution::balanced, .devices = devices}; }

Routing route(const DistributionOptions& o, int64_t tokens, int experts, int topk, uint32_t seed = 0) {
  return route_topk(make_logits(o, tokens, experts, topk, seed), tokens, experts, topk);
}

TEST(Skew, EveryDistributionKeepsItsPromiseOnOddShapes) {
  struct OddShape {
    int64_t tokens;
    int experts, topk;
  };
  int num_possible = 0;
  for (const OddShape& s :
       {OddShape{1, 6, 1}, {3, 6, 5}, {257, 12, 4}, {1000, 60, 8}, {64, 6, 6}, {5, 2, 1}}) {
    for (const DistributionOptions& o :
         {zipf(0), zipf(1.1), zipf(3), hot(1, 0.1), hot(2, 0.25), hot(3, 0.37), hot(1, 0), hot_device(2, 0.5),
          hot_device(2, 0.61), balanced(), balanced(2)}) {
      for (const uint32_t seed : {0u, 7u}) {
        try {
          refuse_impossible(o, s.experts, s.topk);
        } catch (const InputError&) {
          continue;
        }
        ++num_possible;
        EXPECT_NO_THROW(require_properties(o, route(o, s.tokens, s.experts, s.topk, seed), seed))
            << to_string(o) << " T " << s.tokens << " E " << s.experts << " k " << s.topk;
      }
    }
  }
  EXPECT_GT(num_possible, 80);
}

TEST(Skew, HotShareIsExactToHalfAnAssignment) {
  const Routing routing = route(hot(3, 0.37), 1001, 20, 4, 5);
  const std::vector<int32_t> experts = hot_experts(hot(3, 0.37), 20, 5);
  const std::set<int32_t> hot_set(experts.begin(), experts.end());
  ASSERT_EQ(hot_set.size(), 3u);
  int64_t num_hot = 0;
  for (const int32_t e : routing.expert) num_hot += hot_set.count(e);
  EXPECT_EQ(num_hot, std::llround(0.37 * 4004));
}

TEST(Skew, HotDeviceIsTheFirst) {
  const Routing routing = route(hot_device(3, 0.6), 900, 12, 2, 1);
  const std::vector<int64_t> load = device_load(expert_load(routing), 3);
  EXPECT_EQ(load[0], 1080);
  EXPECT_NEAR(static_cast<double>(load[1]), 360, 60);
}

TEST(Skew, ZipfFirstChoicesFollowTheRanks) {
  const int64_t num_tokens = 100000;
  const Routing routing = route(zipf(1), num_tokens, 8, 2, 3);
  std::vector<int64_t> firsts(8, 0);
  for (size_t t = 0; t < 100000; ++t) ++firsts[static_cast<size_t>(routing.expert[2 * t])];
  const std::vector<int32_t> order = expert_order(8, 3);
  double harmonic = 0;
  for (int r = 1; r <= 8; ++r) harmonic += 1.0 / r;
  for (size_t r = 0; r < 8; ++r) {
    const double expected = 1 / (static_cast<double>(r + 1) * harmonic);
    EXPECT_NEAR(static_cast<double>(firsts[static_cast<size_t>(order[r])]) / 1e5, expected, 0.008) << r;
  }
  EXPECT_NEAR(skew_properties(zipf(1), routing, 3)[0].achieved, 1, 0.02);
}

// A zero expert has no number among the experts, but a rank and a share like them.
TEST(Skew, ChoicesOfZeroExpertsCount) {
  constexpr int num_experts = 12, num_logits = 16, topk = 4;
  constexpr int64_t num_tokens = 5000;
  const Router router = make_router(parse_router_rule("softmax,zero:4"), num_tokens, num_experts, topk, 3);
  for (const DistributionOptions& o : {zipf(1), hot(3, 0.37)}) {
    const Routing routing =
        route_all(router, make_logits(o, num_tokens, num_logits, topk, 3), num_tokens, num_logits, topk);
    EXPECT_GT(num_zero_choices(routing), 0) << to_string(o);
    EXPECT_NO_THROW(require_properties(o, routing, 3)) << to_string(o);
  }
}

// No device has zero experts, so they must not move the end of the first device's share.
TEST(Skew, TheHotDeviceHasItsShareBesideZeroExperts) {
  constexpr int num_experts = 12, num_logits = 16, topk = 4, devices = 4;
  constexpr int64_t num_tokens = 5000;
  const Router router = make_router(parse_router_rule("softmax,zero:4"), num_tokens, num_experts, topk, 3);
  const DistributionOptions options = hot_device(devices, 0.37);
  const std::vector<float> logits =
      make_logits(options, num_tokens, num_logits, topk, 3, num_logits - num_experts);
  const Routing routing = route_all(router, logits, num_tokens, num_logits, topk);
  const double own = static_cast<double>(device_load(expert_load(routing), devices)[0]);
  EXPECT_NEAR(own / (num_tokens * topk), 0.37, 1e-4);
  EXPECT_EQ(skew_properties(options, routing, 3)[0].achieved, own / (num_tokens * topk));
  EXPECT_EQ(route_stream({options, router, num_tokens, num_logits, topk, 0, 3}).routing.expert,
            routing.expert);
}

TEST(Skew, BalancedLoadsDifferByOneAfterAnyNumberOfTokens) {
  for (int64_t tokens = 1; tokens < 40; ++tokens) {
    const std::vector<int64_t> load = expert_load(route(balanced(), tokens, 7, 3));
    const auto [min, max] = std::minmax_element(load.begin(), load.end());
    ASSERT_LE(*max - *min, 1) << tokens;
  }
}

TEST(Skew, ARoutingThatMissesIsRefused) {
  const Routing random = route({}, 2000, 16, 4);
  for (const DistributionOptions& o : {zipf(1), hot(2, 0.4), hot_device(4, 0.5), balanced(4)}) {
    EXPECT_THROW(require_properties(o, random, 0), InputError) << to_string(o);
  }
  EXPECT_NO_THROW(require_properties(zipf(0), random, 0)) << "all ranks alike";
  Routing one_off = route(balanced(), 64, 16, 4);
  const std::vector<int64_t> load = expert_load(one_off);
  ASSERT_EQ(load[0], 16);
  *std::find(one_off.expert.begin(), one_off.expert.end(), 0) = 1;
  EXPECT_THROW(require_properties(balanced(), one_off, 0), InputError) << "16 +- 1 are a spread of 2";
}

TEST(Skew, TheImpossibleIsRefused) {
  EXPECT_THROW(refuse_impossible(hot(2, 0.6), 60, 4), InputError);
  EXPECT_NO_THROW(refuse_impossible(hot(2, 0.5), 60, 4));
  EXPECT_THROW(refuse_impossible(hot(6, 0.4), 8, 4), InputError) << "two others take half at most";
  EXPECT_THROW(refuse_impossible(hot(9, 0.5), 8, 1), InputError);
  EXPECT_THROW(refuse_impossible(hot_device(9, 0.5), 8, 1), InputError);
  EXPECT_THROW(refuse_impossible(hot_device(1, 0.5), 8, 1), InputError);
  EXPECT_THROW(refuse_impossible(balanced(3), 8, 1), InputError);
  EXPECT_THROW(refuse_impossible(hot_device(9, 0.5), 12, 1, 4), InputError)
      << "zero experts are of no device";
  EXPECT_NO_THROW(refuse_impossible(hot_device(8, 0.5), 12, 1, 4));
  EXPECT_NO_THROW(refuse_impossible(balanced(4), 14, 1, 2));
  EXPECT_NO_THROW(refuse_impossible(balanced(3), 8, 1, 2)) << "six experts and two zero experts";
  EXPECT_THROW(refuse_impossible(balanced(4), 8, 1, 2), InputError);
  for (const double s : {-1.0, 11.0, std::nan("")}) {
    EXPECT_THROW(refuse_impossible(zipf(s), 8, 1), InputError);
  }
  EXPECT_THROW(refuse_impossible(hot(2, std::nan("")), 8, 1), InputError);
}

TEST(LogitStream, BlocksAndSkipsGiveTheSameLogits) {
  DistributionOptions runs;
  runs.kind = Distribution::runs;
  for (const DistributionOptions& o :
       {DistributionOptions{}, runs, zipf(1), hot(2, 0.3), hot_device(3, 0.4), balanced(3)}) {
    const std::vector<float> whole = make_logits(o, 50, 9, 4, 2);
    LogitStream stream(o, 9, 4, 2);
    stream.skip(13);
    std::vector<float> part;
    stream.next(20, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 13 * 9)) << to_string(o);
    stream.next(17, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 33 * 9)) << to_string(o);
    EXPECT_NE(whole, make_logits(o, 50, 9, 4, 3)) << to_string(o);
  }
}

}  // namespace
}  // namespace moehill
