// Tests workload families: each keeps what its name promises, and a routing depends only on (name, seed).
#include "moehill/routing/workloads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

DistributionOptions options_of(const std::string& text) { return parse_distributions(text).front(); }

Routing route(const std::string& text, int64_t tokens, int experts, int topk, uint32_t seed = 0) {
  return route_topk(make_logits(options_of(text), tokens, experts, topk, seed), tokens, experts, topk);
}

int64_t load_of(const Routing& routing, int begin, int end) {
  const std::vector<int64_t> load = expert_load(routing);
  return std::accumulate(load.begin() + begin, load.begin() + end, int64_t{0});
}

TEST(Workloads, NamesAreTextAndBack) {
  for (const std::string text : {"k-hot:8,0.9", "dirichlet:9.08", "drift:2.5,10,3", "W0", "W1", "W2", "W3",
                                 "W4", "W5", "W6", "W6:7", "W7:3", "zipf:1.2", "trace:a.npy,layer=3"}) {
    EXPECT_EQ(to_string(options_of(text)), text);
  }
  for (const std::string text :
       {"W", "W8", "W6:", "W6:-1", "W6:x", "W66", "k-hot:8", "k-hot:0,0.5", "k-hot:8,1.5", "dirichlet:0",
        "dirichlet:-1", "dirichlet:nan", "dirichlet:1,2", "drift:1,0,0", "drift:1,5", "drift:1,5,-1",
        "trace:", "dirichlet"}) {
    EXPECT_THROW(options_of(text), InputError) << text;
  }
}

TEST(Workloads, AreFunctionsOfNameAndSeed) {
  for (const std::string text : {"W1", "W6:3", "k-hot:4,0.5", "dirichlet:1", "drift:1,4,2"}) {
    const Routing routing = route(text, 60, 12, 3, 4);
    EXPECT_EQ(routing.expert, route(text, 60, 12, 3, 4).expert) << text;
    EXPECT_NE(routing.expert, route(text, 60, 12, 3, 5).expert) << text;
    LogitStream stream(options_of(text), 12, 3, 4);
    stream.skip(17);
    std::vector<float> logits;
    stream.next(43, logits);
    const Routing rest = route_topk(logits, 43, 12, 3);
    EXPECT_TRUE(std::equal(rest.expert.begin(), rest.expert.end(), routing.expert.begin() + 17 * 3)) << text;
  }
}

TEST(Workloads, BalancedIsRoundRobin) {
  Routing routing = route("W0", 100, 12, 5);
  for (int64_t t = 0; t < 100; ++t) {
    int32_t* ids = routing.expert.data() + t * 5;
    std::sort(ids, ids + 5);
    std::vector<int32_t> expected;
    for (int64_t j = 0; j < 5; ++j) expected.push_back(static_cast<int32_t>((t * 5 + j) % 12));
    std::sort(expected.begin(), expected.end());
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), ids)) << t;
  }
}

// A quarter of the tokens chooses from all experts, so the hot ones have 3/4 + 1/4 * share of all
// assignments.
TEST(Workloads, HotSetsHaveThreeQuartersAndTheirShare) {
  const double expected = 40000 * 2 * (0.75 + 0.25 * 0.25);
  for (const std::string text : {"W1", "W2", "W6"})
    EXPECT_NEAR(static_cast<double>(load_of(route(text, 40000, 16, 2), 0, 4)), expected, 500) << text;
  EXPECT_NEAR(static_cast<double>(load_of(route("W6:3", 40000, 16, 2), 4, 8)), expected, 500);
  EXPECT_NEAR(static_cast<double>(load_of(route("W6:14", 40000, 16, 2), 0, 4)), expected, 500) << "around";
  const std::vector<int64_t> spread = expert_load(route("W3", 40000, 16, 2));
  int64_t even = 0;
  for (size_t e = 0; e < 16; e += 2) even += spread[e];
  EXPECT_NEAR(static_cast<double>(even), 80000 * (0.75 + 0.25 * 0.5), 500);
  EXPECT_EQ(load_of(route("W5", 4000, 16, 2), 0, 8), 0);
  EXPECT_GT(load_of(route("W5", 4000, 16, 8), 8, 9), 0);
}

// The last of four sources has seven times the tokens of the first; the experts' loads are even.
TEST(Workloads, RaggedSourcesHaveTokensAsTheirNumbers) {
  for (const int64_t tokens : {1, 2, 7, 40000}) {
    Routing routing = route("W4", tokens, 16, 2, 3);
    const Routing all = routing;
    leave_out_tokens(options_of("W4"), routing);
    for (int64_t source = 0; source < 4 && tokens == 40000; ++source) {
      const auto begin = routing.expert.begin() + source * 20000;
      EXPECT_EQ(20000 - std::count(begin, begin + 20000, kNoExpert), 2 * (1250 + 2500 * source));
    }
    for (size_t a = 0; a < routing.expert.size(); ++a) {
      EXPECT_TRUE(routing.expert[a] == kNoExpert || routing.expert[a] == all.expert[a]);
      EXPECT_EQ(routing.weight[a], routing.expert[a] == kNoExpert ? 0 : all.weight[a]);
    }
    EXPECT_EQ(num_unassigned(routing), 2 * (tokens - tokens / 2)) << tokens;
    require_properties(options_of("W4"), routing, 3);
    EXPECT_TRUE(tokens < 40000 || max_over_mean(expert_load(routing)) < 1.1);
  }
  Routing whole = route("W1", 8, 16, 2);
  leave_out_tokens(options_of("W1"), whole);
  EXPECT_EQ(num_unassigned(whole), 0);
  Routing broken = route("W4", 8, 16, 2);
  EXPECT_THROW(require_properties(options_of("W4"), broken, 0), InputError) << "nobody left out";
}

TEST(Workloads, BurstIsTheFourthStep) {
  for (const std::string step : {"W7", "W7:1", "W7:2", "W7:4"})
    EXPECT_NEAR(static_cast<double>(load_of(route(step, 40000, 16, 2), 0, 4)), 20000, 600) << step;
  EXPECT_NEAR(static_cast<double>(load_of(route("W7:3", 40000, 16, 2), 0, 4)), 80000 * (0.5 + 0.5 * 0.25),
              600);
  EXPECT_NE(route("W7", 100, 16, 2).expert, route("W7:1", 100, 16, 2).expert)
      << "other tokens in another step";
}

TEST(Workloads, HotTokensOfKHotChooseHotExpertsAlone) {
  const Routing routing = route("k-hot:5,0.8", 1000, 20, 3, 7);
  std::vector<int32_t> hot = expert_order(20, 7);
  hot.resize(5);
  int64_t num_hot_tokens = 0;
  for (int64_t t = 0; t < 1000; ++t) {
    const auto is_hot = [&](int32_t e) { return std::find(hot.begin(), hot.end(), e) != hot.end(); };
    const int32_t* ids = routing.expert.data() + t * 3;
    num_hot_tokens += std::all_of(ids, ids + 3, is_hot);
  }
  EXPECT_GE(num_hot_tokens, 800);
  EXPECT_LE(num_hot_tokens, 800 + 12);  // of the 200 others, 1 in 114 by chance
  EXPECT_THROW(route("k-hot:2,0.5", 10, 20, 3), InputError);
  EXPECT_THROW(route("k-hot:21,0.5", 10, 20, 3), InputError);
  EXPECT_THROW(route("W5", 10, 8, 5), InputError);
}

// Shares of Dirichlet(a, .., a) over E experts have the variance (E - 1) / (E^2 (E a + 1)).
TEST(Workloads, DirichletSharesHaveTheirMoments) {
  for (const double alpha : {0.3, 1.0, 9.08}) {
    DistributionOptions options = options_of(fmt::format("dirichlet:{}", alpha));
    const int num_experts = 64;
    double squares = 0;
    for (uint32_t seed = 0; seed < 400; ++seed) {
      std::vector<double> shares = log_popularity(options, num_experts, seed);
      double sum = 0;
      for (double& s : shares) sum += s = std::exp(s);
      for (const double s : shares) squares += std::pow(s / sum - 1.0 / num_experts, 2);
    }
    const double variance = 63.0 / (64.0 * 64.0 * (64 * alpha + 1));
    EXPECT_NEAR(squares / (400 * 64) / variance, 1, 0.05) << alpha;
  }
}

TEST(Workloads, DriftGoesFromOneDrawToTheNext) {
  const std::vector<double> first = log_popularity(options_of("drift:2,10,0"), 16, 3),
                            middle = log_popularity(options_of("drift:2,10,5"), 16, 3),
                            next = log_popularity(options_of("drift:2,10,10"), 16, 3);
  EXPECT_EQ(first, log_popularity(options_of("dirichlet:2"), 16, 3));
  EXPECT_NE(first, next);
  for (size_t e = 0; e < 16; ++e) EXPECT_NEAR(middle[e], (first[e] + next[e]) / 2, 1e-12);
  const auto distance = [](const std::string& a, const std::string& b) {
    const std::vector<int64_t> x = expert_load(route(a, 20000, 16, 2)),
                               y = expert_load(route(b, 20000, 16, 2));
    int64_t sum = 0;
    for (size_t e = 0; e < 16; ++e) sum += std::abs(x[e] - y[e]);
    return sum;
  };
  EXPECT_LT(distance("drift:2,10,0", "drift:2,10,1"), distance("drift:2,10,0", "drift:2,10,6"));
}

}  // namespace
}  // namespace moehill
