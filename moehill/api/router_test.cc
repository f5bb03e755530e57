// Tests of the public interface's router against a plain one in double precision, which was written from the
// header only: choices, gate values and gradients of the routers of known models, and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "moehill/moehill.hpp"

namespace moehill_test {
namespace {

using namespace moehill;

constexpr int kExperts = 12, kTopk = 3, kIds = 7;
constexpr int64_t kTokens = 19;

struct Tables {
  std::vector<float> bias, scale;
  std::vector<int32_t> experts_of_id, token_ids;
};

Tables random_tables() {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 1);
  Tables t;
  for (int e = 0; e < kExperts; ++e) {
    t.bias.push_back(0.1f * normal(random));
    t.scale.push_back(1 + 0.2f * normal(random));
  }
  std::vector<int32_t> all(kExperts);
  std::iota(all.begin(), all.end(), 0);
  for (int i = 0; i < kIds; ++i) {
    std::shuffle(all.begin(), all.end(), random);
    t.experts_of_id.insert(t.experts_of_id.end(), all.begin(), all.begin() + kTopk);
  }
  for (int64_t i = 0; i < kTokens; ++i) t.token_ids.push_back(static_cast<int32_t>(random() % kIds));
  return t;
}

// Values have few bits, so that some of them are equal.
std::vector<float> random_logits(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> logits;
  for (int64_t i = 0; i < kTokens * kExperts; ++i)
    logits.push_back(static_cast<float>(random() % 64) / 16 - 2);
  return logits;
}

using Row = std::vector<double>;

Row scores(const RouterDesc& d, const Row& logits, const std::vector<int>& of) {
  Row s(logits.size());
  double sum = 0;
  for (const int e : of) sum += std::exp(logits[static_cast<size_t>(e)]);
  for (size_t e = 0; e < s.size(); ++e) {
    const double z = logits[e];
    s[e] = d.score == Score::sigmoid         ? 1 / (1 + std::exp(-z))
           : d.score == Score::sqrt_softplus ? std::sqrt(std::log(1 + std::exp(z)))
                                             : std::exp(z) / sum;
  }
  return s;
}

// Returns the `num` largest of `from`, the largest first; of equal values the earlier one comes first.
std::vector<int> best(const Row& values, std::vector<int> from, int num) {
  std::stable_sort(from.begin(), from.end(), [&](int a, int b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  from.resize(static_cast<size_t>(num));
  return from;
}

std::vector<int> numbers(int begin, int end) {
  std::vector<int> all(static_cast<size_t>(end - begin));
  std::iota(all.begin(), all.end(), begin);
  return all;
}

std::vector<int> choose(const RouterDesc& d, const Row& logits) {
  if (d.score == Score::chosen_softmax || d.score == Score::sparsemixer)
    return best(logits, numbers(0, kExperts), kTopk);
  Row keys = scores(d, logits, numbers(0, kExperts));
  for (size_t e = 0; e < keys.size() && d.bias != nullptr; ++e) keys[e] += static_cast<double>(d.bias[e]);
  const int size = kExperts / d.groups;
  Row ranks;
  for (int g = 0; g < d.groups; ++g) {
    double rank = 0;
    for (const int e : best(keys, numbers(g * size, (g + 1) * size), d.group_rank))
      rank += keys[static_cast<size_t>(e)];
    ranks.push_back(rank);
  }
  std::vector<int> allowed;
  for (const int g : best(ranks, numbers(0, d.groups), d.kept_groups))
    for (const int e : numbers(g * size, (g + 1) * size)) allowed.push_back(e);
  std::sort(allowed.begin(), allowed.end());
  return best(keys, allowed, kTopk);
}

Row mixer_gates(const RouterDesc& d, const Row& logits, const std::vector<int>& chosen) {
  Row open = logits, p;
  for (const int choice : chosen) {
    const double m = *std::max_element(open.begin(), open.end());
    double sum = 0;
    for (const double z : open)
      if (std::isfinite(z) && !((m - z) / std::max(std::abs(z), m) > 2 * d.jitter)) sum += std::exp(z);
    p.push_back(std::exp(logits[static_cast<size_t>(choice)]) / sum);
    open[static_cast<size_t>(choice)] = -INFINITY;
  }
  return p;
}

Row gates(const RouterDesc& d, const Row& logits, const std::vector<int>& chosen) {
  if (d.score == Score::sparsemixer) return mixer_gates(d, logits, chosen);
  const Row s = scores(d, logits, d.score == Score::chosen_softmax ? chosen : numbers(0, kExperts));
  double sum = 0;
  for (const int e : chosen) sum += s[static_cast<size_t>(e)];
  Row p;
  for (const int e : chosen) {
    const double scale = d.expert_scale == nullptr ? 1 : static_cast<double>(d.expert_scale[e]);
    p.push_back(d.factor * scale * s[static_cast<size_t>(e)] /
                (d.normalized ? std::max(sum, d.least_sum) : 1));
  }
  return p;
}

struct Family {
  const char* models;
  void (*set)(RouterDesc&, const Tables&);
  friend void PrintTo(const Family& family, std::ostream* out) { *out << family.models; }
};

constexpr Family kFamilies[] = {
    {"Qwen1.5-MoE, OLMoE", [](RouterDesc& d, const Tables&) { d.score = Score::softmax; }},
    {"Qwen3",
     [](RouterDesc& d, const Tables&) {
       d.score = Score::softmax;
       d.normalized = true;
     }},
    {"Mixtral, gpt-oss", [](RouterDesc&, const Tables&) {}},
    {"Kimi-K2",
     [](RouterDesc& d, const Tables& t) {
       d.score = Score::sigmoid;
       d.bias = t.bias.data();
       d.normalized = true;
       d.factor = 2.827;
     }},
    {"DeepSeek-V3",
     [](RouterDesc& d, const Tables& t) {
       d.score = Score::sigmoid;
       d.bias = t.bias.data();
       d.groups = 4;
       d.kept_groups = 2;
       d.normalized = true;
       d.factor = 2.5;
     }},
    {"DeepSeek-V2",
     [](RouterDesc& d, const Tables&) {
       d.score = Score::softmax;
       d.groups = 4;
       d.kept_groups = 2;
       d.group_rank = 1;
       d.factor = 16;
     }},
    {"Ernie 4.5, its least sum in reach",
     [](RouterDesc& d, const Tables& t) {
       d.score = Score::softmax;
       d.bias = t.bias.data();
       d.normalized = true;
       d.least_sum = 0.5;
     }},
    {"DeepSeek-V4",
     [](RouterDesc& d, const Tables& t) {
       d.score = Score::sqrt_softplus;
       d.bias = t.bias.data();
       d.normalized = true;
       d.factor = 1.5;
     }},
    {"DeepSeek-V4, first layers",
     [](RouterDesc& d, const Tables& t) {
       d.score = Score::sqrt_softplus;
       d.normalized = true;
       d.experts_of_id = t.experts_of_id.data();
       d.num_ids = kIds;
     }},
    {"Llama 4", [](RouterDesc& d, const Tables&) { d.score = Score::sigmoid; }},
    {"Phi-3.5-MoE",  // a jitter that the quotients of these logits keep away from
     [](RouterDesc& d, const Tables&) {
       d.score = Score::sparsemixer;
       d.jitter = 0.1234;
     }},
    {"Gemma 4", [](RouterDesc& d, const Tables& t) {
       d.score = Score::softmax;
       d.normalized = true;
       d.expert_scale = t.scale.data();
     }}};

class EveryRouter : public testing::TestWithParam<Family> {};

TEST_P(EveryRouter, EqualsThePlainOne) {
  const Tables tables = random_tables();
  RouterDesc d{.experts = kExperts, .topk = kTopk};
  GetParam().set(d, tables);
  const Context context({.threads_per_device = 2});
  Router router(context, d);
  for (const uint32_t seed : {1u, 2u}) {
    const std::vector<float> logits = random_logits(seed);
    std::vector<int32_t> ids(kTokens * kTopk);
    std::vector<float> p(ids.size()), dp(ids.size()), dlogits(logits.size(), NAN);
    std::mt19937 random(seed);
    for (float& v : dp) v = static_cast<float>(random() % 100) / 50 - 1;
    router.route(kTokens, logits.data(), ids.data(), p.data(),
                 d.num_ids > 0 ? tables.token_ids.data() : nullptr);
    router.backward(kTokens, logits.data(), ids.data(), dp.data(), dlogits.data());
    for (int64_t t = 0; t < kTokens; ++t) {
      SCOPED_TRACE(t);
      const Row row(logits.begin() + t * kExperts, logits.begin() + (t + 1) * kExperts);
      std::vector<int> chosen = choose(d, row);
      if (d.num_ids > 0) {
        const auto first = tables.experts_of_id.begin() + tables.token_ids[static_cast<size_t>(t)] * kTopk;
        chosen.assign(first, first + kTopk);
      }
      const auto loss = [&](const Row& z) {
        const Row g = gates(d, z, chosen);
        double sum = 0;
        for (size_t j = 0; j < g.size(); ++j)
          sum += g[j] * static_cast<double>(dp[static_cast<size_t>(t * kTopk) + j]);
        return sum;
      };
      const Row expected = gates(d, row, chosen);
      for (size_t j = 0; j < chosen.size(); ++j) {
        ASSERT_EQ(ids[static_cast<size_t>(t * kTopk) + j], chosen[j]);
        ASSERT_NEAR(p[static_cast<size_t>(t * kTopk) + j], expected[j], 1e-6 * d.factor);
      }
      for (size_t e = 0; e < row.size(); ++e) {
        Row up = row, down = row;
        up[e] += 1e-5;
        down[e] -= 1e-5;
        ASSERT_NEAR(dlogits[static_cast<size_t>(t * kExperts) + e], (loss(up) - loss(down)) / 2e-5,
                    2e-6 * d.factor);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EveryRouter, testing::ValuesIn(kFamilies));

TEST(Router, TakesAnotherBias) {
  const Context context(ContextOptions::callers_thread());
  const std::vector<float> zeros(4), logits = {0, 0, 0, 0}, bias = {0, 0, 1, 0};
  Router router(context, {.experts = 4, .topk = 1, .score = Score::sigmoid, .bias = zeros.data()});
  int32_t id = -1;
  float gate = 0;
  router.route(1, logits.data(), &id, &gate);
  EXPECT_EQ(id, 0);
  router.set_bias(bias.data());
  router.route(1, logits.data(), &id, &gate);
  EXPECT_EQ(id, 2);
  EXPECT_FLOAT_EQ(gate, 0.5f);  // the bias chooses and does not weigh
  router.route(0, nullptr, nullptr, nullptr);
}

template <typename Body>
void expect_invalid(const std::string& part, const Body& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("--"), std::string::npos) << error.what();
  }
}

TEST(Router, RefusesDescriptionsThatCannotChoose) {
  const Context context(ContextOptions::callers_thread());
  const std::vector<float> bias(12), spoilt(12, NAN);
  const std::vector<int32_t> twice = {0, 1, 1}, outside = {0, 1, 12};
  const auto expect = [&](const std::string& part, auto change) {
    RouterDesc d{.experts = 12, .topk = 3, .score = Score::sigmoid};
    change(d);
    expect_invalid(part, [&] { Router router(context, d); });
  };
  expect("experts", [](RouterDesc& d) { d.experts = 0; });
  expect("topk: got 13", [](RouterDesc& d) { d.topk = 13; });
  expect("score: got 5", [](RouterDesc& d) { d.score = static_cast<Score>(5); });
  expect("MOEHILL_SCORE_SPARSEMIXER cannot be used with",
         [](RouterDesc& d) { d.score = Score::sparsemixer, d.factor = 2; });
  expect("MOEHILL_SCORE_SPARSEMIXER cannot be used with",
         [&](RouterDesc& d) { d.score = Score::sparsemixer, d.bias = bias.data(); });
  expect("jitter: got -1", [](RouterDesc& d) { d.jitter = -1; });
  expect("jitter: got nan", [](RouterDesc& d) { d.jitter = NAN; });
  expect("groups: got 5 of 12", [](RouterDesc& d) { d.groups = 5; });
  expect("groups: got 12 of 12", [](RouterDesc& d) { d.groups = 12; });
  expect("kept_groups: got 5", [](RouterDesc& d) { d.groups = 4, d.kept_groups = 5; });
  expect("topk: got 4, allowed: 1 to 3", [](RouterDesc& d) { d.groups = d.topk = 4; });
  expect("group_rank", [](RouterDesc& d) { d.group_rank = 3; });
  expect("least_sum: got nan", [](RouterDesc& d) { d.least_sum = NAN; });
  expect("factor: got 0", [](RouterDesc& d) { d.factor = 0; });
  expect("bias: got nan for expert 0", [&](RouterDesc& d) { d.bias = spoilt.data(); });
  expect("bias cannot be used with",
         [&](RouterDesc& d) { d.score = Score::chosen_softmax, d.bias = bias.data(); });
  expect("groups cannot be used with", [](RouterDesc& d) { d.score = Score::chosen_softmax, d.groups = 4; });
  expect("normalized", [](RouterDesc& d) { d.score = Score::chosen_softmax, d.normalized = true; });
  expect("num_ids", [](RouterDesc& d) { d.num_ids = 1; });
  const auto table = [&](const std::vector<int32_t>& experts) {
    return [&experts](RouterDesc& d) { d.experts_of_id = experts.data(), d.num_ids = 1; };
  };
  expect("experts_of_id: got 1 for id 0", table(twice));
  expect("experts_of_id: got 12 for id 0", table(outside));
  expect("experts_of_id cannot be used with a bias",
         [&](RouterDesc& d) { table(twice)(d), d.bias = bias.data(); });
}

TEST(Router, RefusesCallsThatDoNotFit) {
  const Context context(ContextOptions::callers_thread());
  Router router(context, {.experts = 4, .topk = 2});
  std::vector<float> logits(12), p(6), dp(6), dlogits(12);
  std::vector<int32_t> ids(6);
  const auto route = [&](const std::vector<float>& z) {
    return [&, z] { router.route(3, z.data(), ids.data(), p.data()); };
  };
  std::vector<float> spoilt = logits;
  spoilt[6] = NAN;
  expect_invalid("nan for token 1, expert 2", route(spoilt));
  spoilt[6] = INFINITY;
  expect_invalid("inf for token 1, expert 2", route(spoilt));
  expect_invalid("logits: got null", [&] { router.route(3, nullptr, ids.data(), p.data()); });
  expect_invalid("gates: got memory that overlaps",
                 [&] { router.route(3, logits.data(), ids.data(), logits.data()); });
  expect_invalid("tokens: got -1", [&] { router.route(-1, logits.data(), ids.data(), p.data()); });
  // With so many tokens the number of choices does not fit 64 bits.
  expect_invalid("tokens: got 9.2", [&] { router.route(INT64_MAX, logits.data(), ids.data(), p.data()); });
  expect_invalid("tokens: got 9.2",
                 [&] { router.backward(INT64_MAX, logits.data(), ids.data(), dp.data(), dlogits.data()); });
  expect_invalid("without", [&] { router.set_bias(p.data()); });
  route(logits)();
  ids[3] = -1;
  expect_invalid("expert_ids: got -1 for token 1",
                 [&] { router.backward(3, logits.data(), ids.data(), dp.data(), dlogits.data()); });
  const std::vector<int32_t> table = {0, 1}, bad = {0, 1, 0};
  Router hashed(
      context,
      {.experts = 4, .topk = 2, .score = Score::sigmoid, .experts_of_id = table.data(), .num_ids = 1});
  expect_invalid("token_ids: got 1 for token 1",
                 [&] { hashed.route(3, logits.data(), ids.data(), p.data(), bad.data()); });
  expect_invalid("token_ids: got null", [&] { hashed.route(3, logits.data(), ids.data(), p.data()); });
}

}  // namespace
}  // namespace moehill_test
