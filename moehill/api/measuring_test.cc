// Tests that a run of the harness and a caller's block give equal bits with the same operands. The test uses
// only the C interface, because moehill.hpp has names that the library has too.
#include "moehill/api/measuring.h"

#include <gtest/gtest.h>

#include "examples/plain_moe.h"
#include "moehill/moehill.h"

namespace moehill {
namespace {

// 2 / (T H) is a power of two: a caller's dy = 2 y / (T H) is exact, and so is the harness's scale.
constexpr MoeShape kPointShape{32, 64, 27, 7, 3, 19, DType::f32};

struct Point {
  Spread spread;
  int devices;
  DType dtype;
  Remat remat;
};

RunConfig point_config(const Point& point) {
  RunConfig config;
  config.shape = kPointShape;
  config.shape.dtype = point.dtype;
  config.block.remat = point.remat;
  config.spread = point.spread;
  config.num_devices = point.devices;
  return config;
}

moehill_block_desc desc_of(const Point& point) {
  moehill_block_desc desc;
  moehill_block_desc_init(&desc);
  desc.hidden = kPointShape.hidden;
  desc.mlp_dim = kPointShape.mlp_dim;
  desc.experts = kPointShape.experts;
  desc.topk = kPointShape.topk;
  desc.shared_dim = kPointShape.shared_dim;
  desc.max_tokens = kPointShape.tokens;
  desc.dtype = point.dtype == DType::f32 ? MOEHILL_F32 : MOEHILL_BF16;
  desc.path = static_cast<int32_t>(point.spread);
  desc.recompute = point.remat == Remat::none ? MOEHILL_RECOMPUTE_NONE : MOEHILL_RECOMPUTE_EXPERT_MLP;
  return desc;
}

std::vector<float> weight_values(const LogicalWeights& w) {
  std::vector<float> values;
  for (int64_t g = 0; g < w.stack.num_groups; ++g) {
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t c = 0; c < w.num_columns; ++c) values.push_back(w.at(g, r, c));
    }
  }
  return values;
}

// Returns the matrix as a caller keeps it: row-major, in the type of its values.
plain::Tensor tensor_of(const MatView& m, double factor = 1) {
  plain::Tensor tensor(static_cast<size_t>(m.rows * m.cols), m.dtype == DType::bf16);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c)
      tensor.set(static_cast<size_t>(r * m.cols + c), factor * static_cast<double>(m.at(r, c)));
  }
  return tensor;
}

// Weights are the matrices of the routed experts, or those of the shared expert.
struct Weights {
  const LogicalWeights &w1, &w3, &w2;
};

class CallersBlock {
 public:
  explicit CallersBlock(const Point& point) {
    moehill_context_options options;
    moehill_context_options_init(&options);
    options.devices = point.devices;
    options.threads_per_device = 1;
    expect(moehill_context_create(&options, &context_));
    const moehill_block_desc desc = desc_of(point);
    expect(moehill_block_create(context_, &desc, &block_));
  }
  ~CallersBlock() {
    moehill_block_destroy(block_);
    moehill_context_destroy(context_);
  }
  CallersBlock(const CallersBlock&) = delete;
  moehill_block* get() const { return block_; }

  static void expect(moehill_status status) { ASSERT_EQ(status, MOEHILL_OK) << moehill_last_error(); }

  void load(const Weights& w, bool is_shared) {
    const std::vector<float> gate = weight_values(w.w1), up = weight_values(w.w3), down = weight_values(w.w2);
    moehill_weights given{};
    given.struct_size = sizeof given;
    given.gate = gate.data();
    given.up = up.data();
    given.down = down.data();
    given.dtype = MOEHILL_F32;
    given.order = MOEHILL_IN_OUT;
    expect(is_shared ? moehill_block_load_shared(block_, &given)
                     : moehill_block_load_experts(block_, 0, kPointShape.experts, &given));
  }

  void expect_gradients(const Weights& w, bool is_shared) {
    const std::vector<float> gate = weight_values(w.w1), up = weight_values(w.w3), down = weight_values(w.w2);
    std::vector<float> got_gate(gate.size()), got_up(up.size()), got_down(down.size());
    moehill_gradients to{};
    to.struct_size = sizeof to;
    to.gate = got_gate.data();
    to.up = got_up.data();
    to.down = got_down.data();
    to.dtype = MOEHILL_F32;
    to.order = MOEHILL_IN_OUT;
    expect(is_shared ? moehill_block_store_shared_gradients(block_, &to)
                     : moehill_block_store_expert_gradients(block_, 0, kPointShape.experts, &to));
    EXPECT_EQ(got_gate, gate);
    EXPECT_EQ(got_up, up);
    EXPECT_EQ(got_down, down);
  }

 private:
  moehill_context* context_ = nullptr;
  moehill_block* block_ = nullptr;
};

void expect_equal(const Point& point) {
  SCOPED_TRACE(std::string(name_of(point.spread)) + " " + dtype_name(point.dtype));
  RunFactory factory({}, 5, {});
  const auto run = factory.make(point_config(point));
  run->step({});
  const BlockTensors t = run->tensors();
  CallersBlock block(point);
  block.load({t.weights.w1, t.weights.w3, t.weights.w2}, false);
  block.load({t.weights.s1, t.weights.s3, t.weights.s2}, true);
  const plain::Tensor x = tensor_of(t.x);
  const plain::Tensor dy = tensor_of(t.y, 2.0 / static_cast<double>(kPointShape.tokens * kPointShape.hidden));
  const bool bf16 = point.dtype == DType::bf16;
  plain::Tensor y(x.size(), bf16), dx(x.size(), bf16);
  std::vector<float> d_gates(t.routing->weight.size());
  CallersBlock::expect(moehill_block_plan(block.get(), kPointShape.tokens, t.routing->expert.data(),
                                          t.routing->weight.data()));
  CallersBlock::expect(moehill_block_forward(block.get(), x.data(), y.data()));
  CallersBlock::expect(moehill_block_backward(block.get(), x.data(), dy.data(), dx.data(), d_gates.data()));
  EXPECT_EQ(y.values(), tensor_of(t.y).values());
  EXPECT_EQ(dx.values(), tensor_of(t.dx).values());
  EXPECT_EQ(d_gates, std::vector<float>(t.dp, t.dp + d_gates.size()));
  block.expect_gradients({t.gradients.w1, t.gradients.w3, t.gradients.w2}, false);
  block.expect_gradients({t.gradients.s1, t.gradients.s3, t.gradients.s2}, true);
}

TEST(Measuring, ARunLeavesTheBitsOfACallersBlock) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    expect_equal({Spread::none, 1, dtype, Remat::none});
    expect_equal({Spread::none, 1, dtype, Remat::expert_mlp});
    for (const Spread spread : {Spread::dp, Spread::compact_psum, Spread::dense_masked, Spread::ring_ag_rs,
                                Spread::ragged_a2a, Spread::fused})
      expect_equal({spread, 3, dtype, Remat::none});
  }
}

}  // namespace
}  // namespace moehill
