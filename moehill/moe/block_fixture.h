// A block for tests: inputs and results of any shape in any layout, filled at random; results taken from
// outside, as the oracle has them or with a fault planted.
#pragma once

#include <cmath>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/moe/oracle.h"
#include "moehill/moe/tensors.h"
#include "moehill/routing/topk.h"

namespace moehill {

struct FixtureLayout {
  WeightLayout layout = WeightLayout::panels;
  bool gate_up = true;  // W1 and W3 in one stack, S1 and S3 too
};

// Weight stacks of one expert kind, and how the matrices lie in them.
struct FixtureStacks {
  FixtureStacks() = default;
  FixtureStacks(FixtureLayout how, int64_t groups, int64_t hidden, int64_t width, DType dtype) {
    const int64_t up_columns = how.gate_up ? gate_up_columns(width) : width;
    up[0] = WeightStack(how.layout, groups, hidden, up_columns, dtype);
    if (!how.gate_up) up[1] = WeightStack(how.layout, groups, hidden, width, dtype);
    down = WeightStack(how.layout, groups, width, hidden, dtype);
    using Part = LogicalWeights::Part;
    w1 = {up[0], how.gate_up ? Part::gate : Part::all, width};
    w3 = {up[how.gate_up ? 0 : 1], how.gate_up ? Part::up : Part::all, width};
    w2 = {down, Part::all, hidden};
  }
  WeightStack up[2], down;
  LogicalWeights w1, w3, w2;
};

class BlockFixture {
 public:
  explicit BlockFixture(const MoeShape& shape, FixtureLayout how = {}, uint32_t seed = 1)
      : shape_(shape),
        x_(shape.tokens, shape.hidden, shape.dtype),
        y_(shape.tokens, shape.hidden, shape.dtype),
        dx_(shape.tokens, shape.hidden, shape.dtype),
        dp_(static_cast<size_t>(shape.assignments())),
        dlogits_(static_cast<size_t>(shape.tokens * shape.experts)),
        logits_(dlogits_.size()) {
    make_stacks(how, routed_, shared_);
    make_stacks(how, routed_gradients_, shared_gradients_);
    fill(x_.view(), seed);
    const double hidden = static_cast<double>(shape.hidden);
    fill(routed_.w1, Stream::kW1, hidden, seed);
    fill(routed_.w3, Stream::kW3, hidden, seed);
    fill(routed_.w2, Stream::kW2, static_cast<double>(shape.mlp_dim), seed);
    if (shape.shared_dim > 0) {
      fill(shared_.w1, Stream::kS1, hidden, seed);
      fill(shared_.w3, Stream::kS3, hidden, seed);
      fill(shared_.w2, Stream::kS2, static_cast<double>(shape.shared_dim), seed);
    }
    for (size_t i = 0; i < logits_.size(); ++i)
      logits_[i] = static_cast<float>(random_normal(seed, Stream::kLogits, i));
    routing_ = route_topk(logits_, shape.tokens, shape.experts, shape.topk);
  }

  BlockTensors tensors() const {
    BlockTensors t;
    t.shape = shape_;
    t.x = x_;
    t.weights = weights_of(routed_, shared_);
    t.routing = &routing_;
    t.kept = kept_.empty() ? nullptr : kept_.data();
    t.y = y_;
    t.dx = dx_;
    t.gradients = weights_of(routed_gradients_, shared_gradients_);
    t.dp = dp_.data();
    t.dlogits = dlogits_.data();
    return t;
  }

  // Stores the oracle's y, then the oracle's gradients for that stored y, all rounded to the storage type.
  void store_oracle(ThreadTeam& team) {
    const BlockTensors t = tensors();
    store(run_oracle(t, false, nullptr, team).y, t.y);
    const OracleResult result = run_oracle(t, true, stored_loss_gradient().data(), team);
    store(result.dx, t.dx);
    store(result.dw1, t.gradients.w1);
    store(result.dw2, t.gradients.w2);
    store(result.dw3, t.gradients.w3);
    if (shape_.shared_dim > 0) {
      store(result.ds1, t.gradients.s1);
      store(result.ds2, t.gradients.s2);
      store(result.ds3, t.gradients.s3);
    }
    for (size_t i = 0; i < dp_.size(); ++i) dp_[i] = static_cast<float>(result.dp[i]);
    for (size_t i = 0; i < dlogits_.size(); ++i) dlogits_[i] = static_cast<float>(result.dlogits[i]);
  }

  // dy = 2 y / (T H) of the stored y, [T, H].
  std::vector<double> stored_loss_gradient() const {
    std::vector<double> dy(static_cast<size_t>(shape_.tokens * shape_.hidden));
    for (size_t i = 0; i < dy.size(); ++i) {
      const int64_t element = static_cast<int64_t>(i);
      const float y = y_.view().at(element / shape_.hidden, element % shape_.hidden);
      dy[i] = 2.0 * static_cast<double>(y) / static_cast<double>(dy.size());
    }
    return dy;
  }

  const MoeShape& shape() const { return shape_; }
  Routing& routing() { return routing_; }
  std::vector<float>& logits() { return logits_; }    // what the routing was made of
  std::vector<int32_t>& kept() { return kept_; }      // empty: all kept
  std::vector<float>& dp() { return dp_; }            // [T, k]
  std::vector<float>& dlogits() { return dlogits_; }  // [T, E]

 private:
  void make_stacks(FixtureLayout how, FixtureStacks& routed, FixtureStacks& shared) const {
    routed = FixtureStacks(how, shape_.experts, shape_.hidden, shape_.mlp_dim, shape_.dtype);
    if (shape_.shared_dim > 0) shared = FixtureStacks(how, 1, shape_.hidden, shape_.shared_dim, shape_.dtype);
  }

  static BlockWeights weights_of(const FixtureStacks& routed, const FixtureStacks& shared) {
    return {routed.w1, routed.w3, routed.w2, shared.w1, shared.w3, shared.w2};
  }

  static void fill(const MatView& m, uint32_t seed) {
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) {
        const uint64_t index = static_cast<uint64_t>(r * m.cols + c);
        m.set(r, c, static_cast<float>(random_normal(seed, Stream::kX, index)));
      }
    }
  }

  // Normal with variance 1 / fan_in.
  static void fill(const LogicalWeights& w, Stream stream, double fan_in, uint32_t seed) {
    uint64_t index = 0;
    for_each(w, [&](int64_t g, int64_t r, int64_t n) {
      w.set(g, r, n, static_cast<float>(random_normal(seed, stream, index++) / std::sqrt(fan_in)));
    });
  }

  template <typename Body>
  static void for_each(const LogicalWeights& w, const Body& body) {
    for (int64_t g = 0; g < w.stack.num_groups; ++g) {
      for (int64_t r = 0; r < w.rows(); ++r) {
        for (int64_t n = 0; n < w.num_columns; ++n) body(g, r, n);
      }
    }
  }

  static void store(const std::vector<double>& values, const MatView& m) {
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c)
        m.set(r, c, static_cast<float>(values[static_cast<size_t>(r * m.cols + c)]));
    }
  }

  static void store(const std::vector<double>& values, const LogicalWeights& w) {
    size_t index = 0;
    for_each(w,
             [&](int64_t g, int64_t r, int64_t n) { w.set(g, r, n, static_cast<float>(values[index++])); });
  }

  MoeShape shape_;
  Matrix x_, y_, dx_;
  FixtureStacks routed_, shared_, routed_gradients_, shared_gradients_;
  std::vector<float> dp_, dlogits_, logits_;
  std::vector<int32_t> kept_;
  Routing routing_;
};

}  // namespace moehill
