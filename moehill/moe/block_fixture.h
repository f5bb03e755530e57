// BlockFixture is a block for tests: inputs and results of any shape in any layout, filled with random
// values. It computes nothing itself: its results are the oracle's (moe/oracle.h), in which a test may plant
// a fault.
//
//   BlockFixture block(shape);
//   block.store_oracle(team);                       // y and the gradients, rounded to the storage type
//   const BlockTensors tensors = block.tensors();
//   EXPECT_EQ(check_block(tensors, Pass::forward_backward, CheckMode::full, 0, team).status,
//   CheckStatus::passed);
#pragma once

#include <cmath>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/moe/oracle.h"
#include "moehill/moe/tensors.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {

// FixtureLayout is the layout of weights in memory.
struct FixtureLayout {
  WeightLayout layout = WeightLayout::panels;
  bool gate_up = true;  // W1 and W3 in one stack, S1 and S3 too
  bool gated = true;    // there is a W3; a BlockFixture takes this from its shape
};

// FixtureStacks are the weight stacks of the routed or the shared experts, and the place of each matrix in
// them.
struct FixtureStacks {
  FixtureStacks() = default;
  FixtureStacks(FixtureLayout how, int64_t groups, int64_t hidden, int64_t width, DType dtype) {
    const bool both = how.gate_up && how.gated;
    up[0] = WeightStack(how.layout, groups, hidden, both ? gate_up_columns(width) : width, dtype);
    if (!both && how.gated) up[1] = WeightStack(how.layout, groups, hidden, width, dtype);
    down = WeightStack(how.layout, groups, width, hidden, dtype);
    using Part = LogicalWeights::Part;
    w1 = {up[0], both ? Part::gate : Part::all, width};
    if (how.gated) w3 = {up[both ? 0 : 1], both ? Part::up : Part::all, width};
    w2 = {down, Part::all, hidden};
  }
  WeightStack up[2], down;
  LogicalWeights w1, w3, w2;
};

// Makes a stack of vectors [groups][1, n] in `owner` and returns it as a matrix.
inline LogicalWeights vectors_of(WeightStack& owner, int64_t groups, int64_t n) {
  owner = WeightStack(WeightLayout::row_major, groups, 1, vector_columns(n), DType::f32);
  return {owner, LogicalWeights::Part::all, n};
}

// BlockFixture owns the tensors of one block. Views from tensors() are valid as long as it lives.
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
    make_vectors(vector_stacks_, vectors_);
    make_vectors(vector_gradient_stacks_, vector_gradients_);
    fill(x_.view(), seed);
    const double hidden = static_cast<double>(shape.hidden);
    fill(vectors_.b1, Stream::kB1, 4, seed);
    fill(vectors_.b3, Stream::kB3, 4, seed);
    fill(vectors_.b2, Stream::kB2, 4, seed);
    fill(vectors_.sg, Stream::kSharedGate, hidden, seed);
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
    t.weights = weights_of(routed_, shared_, vectors_);
    t.routing = &routing_;
    t.kept = kept_.empty() ? nullptr : kept_.data();
    t.y = y_;
    t.dx = dx_;
    t.gradients = weights_of(routed_gradients_, shared_gradients_, vector_gradients_);
    t.dp = dp_.data();
    t.dlogits = dlogits_.data();
    return t;
  }

  // Stores the oracle's y, then the oracle's gradients for that stored y, all rounded to the storage type.
  void store_oracle(ThreadTeam& team) {
    store_output(team);
    store_gradients(team);
  }
  void store_output(ThreadTeam& team) { store(run_oracle(tensors(), false, nullptr, team).y, y_.view()); }
  void store_gradients(ThreadTeam& team) {
    const BlockTensors t = tensors();
    const OracleResult result = run_oracle(t, true, stored_loss_gradient().data(), team);
    store(result.dx, t.dx);
    store(result.dw1, t.gradients.w1);
    store(result.dw2, t.gradients.w2);
    store(result.dw3, t.gradients.w3);
    store(result.db1, t.gradients.b1);
    store(result.db3, t.gradients.b3);
    store(result.db2, t.gradients.b2);
    store(result.dsg, t.gradients.sg);
    if (shape_.shared_dim > 0) {
      store(result.ds1, t.gradients.s1);
      store(result.ds2, t.gradients.s2);
      store(result.ds3, t.gradients.s3);
    }
    for (size_t i = 0; i < dp_.size(); ++i) dp_[i] = static_cast<float>(result.dp[i]);
    for (size_t i = 0; i < dlogits_.size(); ++i) dlogits_[i] = static_cast<float>(result.dlogits[i]);
  }

  // Returns dy = 2 y / (T H) of the stored y, [T, H].
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
  // These two change what the oracle computes from now on. The tensors stay as they are.
  void set_activation(const Activation& activation) { shape_.form.activation = activation; }
  void set_input_weighted(bool input_weighted) { shape_.router.input_weighted = input_weighted; }
  Routing& routing() { return routing_; }
  std::vector<float>& logits() { return logits_; }    // the routing was made from these
  std::vector<int32_t>& kept() { return kept_; }      // empty: all assignments are kept
  std::vector<float>& dp() { return dp_; }            // [T, k]
  std::vector<float>& dlogits() { return dlogits_; }  // [T, E]

 private:
  void make_stacks(FixtureLayout how, FixtureStacks& routed, FixtureStacks& shared) const {
    how.gated = shape_.form.activation.gated;
    routed = FixtureStacks(how, shape_.experts, shape_.hidden, shape_.mlp_dim, shape_.dtype);
    if (shape_.shared_dim > 0) shared = FixtureStacks(how, 1, shape_.hidden, shape_.shared_dim, shape_.dtype);
  }

  void make_vectors(WeightStack (&stacks)[4], BlockWeights& v) const {
    const MoeShape& s = shape_;
    if (s.form.biases) {
      v.b1 = vectors_of(stacks[0], s.experts, s.mlp_dim);
      if (s.form.activation.gated) v.b3 = vectors_of(stacks[1], s.experts, s.mlp_dim);
      v.b2 = vectors_of(stacks[2], s.experts, s.hidden);
    }
    if (s.form.shared_gate && s.shared_dim > 0) v.sg = vectors_of(stacks[3], 1, s.hidden);
  }

  // Returns these matrices; `vectors` has the vectors only.
  static BlockWeights weights_of(const FixtureStacks& routed, const FixtureStacks& shared,
                                 BlockWeights vectors) {
    vectors.w1 = routed.w1, vectors.w3 = routed.w3, vectors.w2 = routed.w2;
    vectors.s1 = shared.w1, vectors.s3 = shared.w3, vectors.s2 = shared.w2;
    return vectors;
  }

  static void fill(const MatView& m, uint32_t seed) {
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) {
        const uint64_t index = static_cast<uint64_t>(r * m.cols + c);
        m.set(r, c, static_cast<float>(random_normal(seed, Stream::kX, index)));
      }
    }
  }

  // Fills w with normal numbers of variance 1 / fan_in.
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
  WeightStack vector_stacks_[4], vector_gradient_stacks_[4];
  BlockWeights vectors_, vector_gradients_;
  std::vector<float> dp_, dlogits_, logits_;
  std::vector<int32_t> kept_;
  Routing routing_;
};

}  // namespace moehill
