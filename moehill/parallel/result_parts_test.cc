// Result parts cover every byte of the results once, for every mode and path and more devices than there is
// work.
#include "moehill/parallel/result_parts.h"

#include <gtest/gtest.h>

#include <map>

#include "moehill/parallel/operands.h"

namespace moehill {
namespace {

constexpr MoeShape kShape{11, 21, 13, 5, 2, 9, DType::bf16};

struct Tensors {
  explicit Tensors(const RunConfig& config) : weights(make_weights(weight_key(config), {0, 5}, true)) {
    results = {y, dx, weights->experts_grad.view, weights->shared_grad.view, dp.data(), dlogits.data()};
  }
  Matrix y = Matrix::tight(11, 21, DType::bf16), dx = Matrix::tight(11, 21, DType::bf16);
  std::vector<float> dp = std::vector<float>(11 * 2), dlogits = std::vector<float>(11 * 5);
  std::shared_ptr<WeightOperands> weights;
  ResultTensors results;
};

int64_t total_bytes(const Tensors& t) {
  size_t bytes = 2 * 11 * 21 * 2 + (t.dp.size() + t.dlogits.size()) * sizeof(float);
  for (const MlpWeights* mlp : {&t.results.experts_grad, &t.results.shared_grad}) {
    for (const WeightView* stack : {&mlp->up[0], &mlp->up[1], &mlp->down}) {
      if (stack->data != nullptr) bytes += stack->bytes();
    }
  }
  return static_cast<int64_t>(bytes);
}

void expect_cover(const RunConfig& config) {
  const Tensors t(config);
  std::map<char*, int64_t> covered;  // end of the covered part of each tensor so far
  int64_t total = 0;
  for (int rank = 0; rank < config.num_devices + 2; ++rank) {
    for (const ResultPart& part : result_parts(config, t.results, rank)) {
      if (part.bytes.size() == 0) continue;
      EXPECT_EQ(part.bytes.begin, covered[part.whole]) << rank;
      covered[part.whole] = part.bytes.end;
      total += part.bytes.size();
    }
  }
  EXPECT_EQ(total, total_bytes(t)) << name_of(config.spread);
}

TEST(ResultParts, CoverEverythingOnce) {
  for (const Impl impl : {Impl::fused_w13, Impl::baseline}) {
    RunConfig config{.shape = kShape};
    config.block.impl = impl;
    expect_cover(config);
    for (const int devices : {1, 2, 3, 7, 13}) {
      config.num_devices = devices;
      config.spread = Spread::dp;
      expect_cover(config);
      for (const Spread path : kEpPaths) {
        for (const auto placement : {SharedPlacement::sliced, SharedPlacement::replicated}) {
          config.spread = path;
          config.shared_placement = placement;
          expect_cover(config);
        }
      }
    }
  }
}

TEST(ResultParts, AreAsManyOnEveryRank) {
  RunConfig config{.shape = kShape, .spread = Spread::ragged_a2a, .num_devices = 3};
  const Tensors t(config);
  for (int rank = 0; rank < 9; ++rank)
    EXPECT_EQ(result_parts(config, t.results, rank).size(), result_parts(config, t.results, 0).size());
}

}  // namespace
}  // namespace moehill
