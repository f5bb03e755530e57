// Compares capacity rules with results by hand, the step's limiter with the reference, and drops with the
// published table.
#include "moehill/routing/capacity_limiter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "moehill/routing/distribution.h"
#include "moehill/routing/router.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

using Experts = std::vector<int32_t>;
constexpr int32_t kDropped = kNoExpert;

// Five tokens with one choice, the first four of expert 0; gate values .1 .4 .3 .2 .5; C = ceil(1 * 5 / 3) =
// 2.
Routing crowded() {
  Routing routing{5, 3, 1, {0, 0, 0, 0, 1}, {.1f, .4f, .3f, .2f, .5f}};
  routing.spare = {1, 1, 1, 2, 2};
  return routing;
}

Capacity drop(Capacity rule, double factor = 1) {
  rule.policy = CapacityPolicy::drop;
  rule.factor = factor;
  return rule;
}

TEST(ApplyCapacity, ByPositionKeepsTheFirst) {
  EXPECT_EQ(apply_capacity(crowded(), drop({})).expert, (Experts{0, 0, kDropped, kDropped, 1}));
}

TEST(ApplyCapacity, ByGateKeepsTheLargest) {
  EXPECT_EQ(apply_capacity(crowded(), drop({.order = CapacityOrder::gate})).expert,
            (Experts{kDropped, 0, 0, kDropped, 1}));
}

TEST(ApplyCapacity, APoolSharesItsRows) {
  EXPECT_EQ(apply_capacity(crowded(), drop({.pool = 2})).expert, (Experts{0, 0, 0, 0, kDropped}));
  EXPECT_EQ(apply_capacity(crowded(), drop({.order = CapacityOrder::gate, .pool = 2})).expert,
            (Experts{kDropped, 0, 0, 0, 1}));
  EXPECT_EQ(apply_capacity(crowded(), drop({.pool = 3})).expert, crowded().expert);
}

TEST(ApplyCapacity, EachSourceHasRowsOfItsOwn) {
  // Tokens 0, 1 and 2, 3, 4; C = ceil(5 / 6) = 1.
  EXPECT_EQ(apply_capacity(crowded(), drop({.sources = 2})).expert, (Experts{0, kDropped, 0, kDropped, 1}));
}

TEST(ApplyCapacity, OverflowGoesToTheNextChoiceWithARow) {
  EXPECT_EQ(apply_capacity(crowded(), drop({.spares = 1})).expert, (Experts{0, 0, 1, 2, 1}));
  // Token 4's choice of expert 1 comes before token 2's spill to it, although token 4 is later.
  Routing routing = crowded();
  routing.expert = {0, 0, 0, 1, 1};
  EXPECT_EQ(apply_capacity(routing, drop({.spares = 1})).expert, (Experts{0, 0, kDropped, 1, 1}));
}

TEST(ApplyCapacity, SpillsByGateInTheirOrder) {
  Routing routing = crowded();
  routing.expert = {0, 0, 0, 0, 1};
  routing.spare = {1, 1, 1, 1, 2};
  EXPECT_EQ(apply_capacity(routing, drop({.order = CapacityOrder::gate, .spares = 1})).expert,
            (Experts{kDropped, 0, 0, 1, 1}));
}

TEST(ApplyCapacity, ATokenDoesNotSpillTwiceToOneExpert) {
  Routing routing{2, 4, 2, {0, 1, 0, 1}, {.5f, .5f, .5f, .5f}};
  routing.spare = {2, 3, 2, 3};  // C = 1
  EXPECT_EQ(apply_capacity(routing, drop({.spares = 1})).expert, (Experts{0, 1, 2, kDropped}));
  EXPECT_EQ(apply_capacity(routing, drop({.spares = 2})).expert, (Experts{0, 1, 2, 3}));
  Routing more{4, 4, 2, {0, 1, 0, 1, 0, 1, 0, 1}, std::vector<float>(8, .5f)};
  more.spare = {2, 2, 2, 2};  // C = 2, so that expert 2 has a row for each of the last two tokens
  EXPECT_EQ(apply_capacity(more, drop({.spares = 1})).expert,
            (Experts{0, 1, 0, 1, 2, kDropped, 2, kDropped}));
}

TEST(ApplyCapacity, NobodysAssignmentsTakeNoRows) {
  Routing routing = crowded();
  routing.expert[0] = kNoExpert;
  EXPECT_EQ(apply_capacity(routing, drop({})).expert, (Experts{kNoExpert, 0, 0, kDropped, 1}));
}

Routing with_spares(Routing routing, int num_spares) {
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    const auto begin = routing.expert.begin() + t * routing.topk;
    for (int e = routing.num_experts - 1, n = 0; n < num_spares; --e) {
      if (std::find(begin, begin + routing.topk, e) != begin + routing.topk) continue;
      routing.spare.push_back(e);
      ++n;
    }
  }
  return routing;
}

TEST(CapacityLimiter, DecidesAsTheReference) {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    Routing routing = with_spares(random_routing(101, 11, 3, 1.0, seed), 4);
    for (size_t a = 7; a < routing.expert.size(); a += 50) routing.expert[a] = kNoExpert;
    int64_t num_dropped = 0, num_spilled = 0;
    for (const CapacityOrder order : {CapacityOrder::position, CapacityOrder::gate}) {
      for (const int pool : {1, 2, 4, 11}) {
        for (const int sources : {1, 2, 5}) {
          for (const int spares : {0, 1, 4}) {
            const Capacity capacity =
                drop({.order = order, .pool = pool, .sources = sources, .spares = spares}, 0.8);
            CapacityLimiter limiter(capacity, routing.num_tokens, 11, 3);
            const Routing expected = apply_capacity(routing, capacity);
            const int64_t rows = capacity_rows(capacity, std::ssize(routing.expert), 11);
            for (int again = 0; again < 2; ++again) {
              const Routing& got = limiter.apply(routing, {0, routing.num_tokens}, rows);
              EXPECT_EQ(got.expert, expected.expert) << name_of(order) << pool << sources << spares;
              EXPECT_EQ(got.weight, routing.weight);
              limiter.spoil();
            }
            for (size_t a = 0; a < expected.expert.size(); ++a) {
              num_dropped += expected.expert[a] == kNoExpert;
              num_spilled += expected.expert[a] != kNoExpert && expected.expert[a] != routing.expert[a];
            }
            const auto load = expert_load(expected);
            for (int p = 0; p < capacity.num_pools(11); ++p) {
              int64_t rows_used = 0;
              for (int e = p * pool; e < std::min(11, (p + 1) * pool); ++e)
                rows_used += load[static_cast<size_t>(e)];
              EXPECT_LE(rows_used, sources * pool_rows(capacity, rows, p, 11));
            }
          }
        }
      }
    }
    EXPECT_GT(num_dropped, 100);
    EXPECT_GT(num_spilled, 100);
  }
}

// A source alone makes the decisions that it makes among all sources.
TEST(CapacityLimiter, OneSourceOfSeveral) {
  const Routing routing = with_spares(random_routing(50, 6, 2, 1.0, 4), 2);
  const Capacity all = drop({.order = CapacityOrder::gate, .sources = 4, .spares = 2}, 0.7);
  const Routing expected = apply_capacity(routing, all);
  Capacity one = all;
  one.sources = 1;
  CapacityLimiter limiter(one, 50, 6, 2);
  for (int s = 0; s < 4; ++s) {
    const Range tokens = share(50, s, 4);
    const Routing& got = limiter.apply(routing, tokens, capacity_rows(all, 100, 6));
    EXPECT_EQ(got.num_tokens, tokens.size());
    EXPECT_EQ(got.expert,
              Experts(expected.expert.begin() + tokens.begin * 2, expected.expert.begin() + tokens.end * 2));
  }
}

TEST(CapacityLimiter, RefusesExpertsThatDoNotExist) {
  for (const int32_t bad : {-2, 3}) {
    Routing routing = crowded();  // of three experts
    routing.expert[2] = bad;
    CapacityLimiter limiter(drop({}), 5, 3, 1);
    EXPECT_THROW(limiter.apply(routing, {0, 5}, 2), InputError) << bad;
  }
}

// The drop table of marin-community's logbook marin-ep: shares of assignments that were dropped under
// Dirichlet(9.08) with 192 experts, top 4 and 65536 tokens in each source, for several capacity factors. It
// comes from one draw of the experts' popularities, which is not published, so the results are compared with
// the spread of such draws.
struct Published {
  const char* cell;
  Capacity rule;
  double percent[3];  // at 1.30, 1.33, 1.50
};
constexpr double kFactors[] = {1.30, 1.33, 1.50};
constexpr int kSources = 2;
const Published kPublished[] = {{"(source, expert)", {.sources = kSources}, {4.67, 4.10, 1.77}},
                                {"expert", {}, {4.66, 4.09, 1.73}},
                                {"three experts of an owner", {.pool = 3}, {0.45, 0.31, 0.00}}};

// If only the counts are known, a cell drops what exceeds its rows, whatever the order.
double dropped_percent(const Routing& routing, const Capacity& capacity) {
  const std::vector<int32_t> kept = kept_assignments(routing, capacity);
  return 100.0 * static_cast<double>(std::count(kept.begin(), kept.end(), 0)) /
         static_cast<double>(kept.size());
}

TEST(CapacityTable, PublishedDropsAreWithinTheSpreadOfDraws) {
  constexpr int kDraws = 8;
  std::vector<double> percent[3][3];
  for (uint32_t seed = 0; seed < kDraws; ++seed) {
    DistributionOptions options = parse_distributions("dirichlet:9.08").front();
    LogitStream stream(options, 192, 4, seed);
    Routing routing{0, 192, 4, {}, {}};
    std::vector<float> logits;
    for (int part = 0; part < 16 * kSources; ++part) {
      stream.next(4096, logits);
      const Routing more = route_all(Router{}, logits, 4096, 192, 4);
      routing.num_tokens += 4096;
      routing.expert.insert(routing.expert.end(), more.expert.begin(), more.expert.end());
      routing.weight.insert(routing.weight.end(), more.weight.begin(), more.weight.end());
    }
    for (int cell = 0; cell < 3; ++cell) {
      for (int f = 0; f < 3; ++f)
        percent[cell][f].push_back(dropped_percent(routing, drop(kPublished[cell].rule, kFactors[f])));
    }
  }
  for (int cell = 0; cell < 3; ++cell) {
    for (int f = 0; f < 3; ++f) {
      double sum = 0, squares = 0;
      for (const double p : percent[cell][f]) sum += p, squares += p * p;
      const double mean = sum / kDraws, sd = std::sqrt((squares - sum * mean) / (kDraws - 1));
      std::printf("%s, factor %.2f: published %.2f %%, %d draws %.2f +- %.2f\n", kPublished[cell].cell,
                  kFactors[f], kPublished[cell].percent[f], kDraws, mean, sd);
      EXPECT_LE(std::abs(kPublished[cell].percent[f] - mean), 2.4 * sd)
          << kPublished[cell].cell << kFactors[f];
    }
  }
}

}  // namespace
}  // namespace moehill
