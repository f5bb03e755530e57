// This header has a block of the public interface with random weights, and the plain implementation
// (examples/plain_moe.h) with the same weights. It is only for tests, which compare the two.
//
//     Pair pair(context, desc, seed);
//     pair.expect_step(random_tokens(desc, 40, seed), 1e-5, 1e-4);   // one step of both; tolerances
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <span>

#include "examples/plain_moe.h"
#include "moehill/moehill.hpp"

namespace moehill_test {

inline plain::Sizes sizes_of(const moehill::BlockDesc& d) {
  return {d.hidden, d.mlp_dim, d.experts, d.topk, d.shared_dim};
}

inline plain::Form form_of(const moehill::BlockDesc& d) {
  plain::Form form;
  form.activation = static_cast<plain::Form::Activation>(d.activation);
  form.gated = d.gated;
  form.limit = d.limit;
  form.input_weighted = d.input_weighted;
  if (d.alpha != 0) form.alpha = d.alpha;
  if (d.beta != 0) form.beta = d.beta;
  if (d.linear_beta != 0) form.linear_beta = d.linear_beta;
  return form;
}

// CallersWeights holds the weights of one or several experts in the caller's memory: gate_up [E, 2M, H], or
// gate [E, M, H] if the experts are not gated; down [E, H, M]; and the vectors that the block has.
struct CallersWeights {
  CallersWeights(const moehill::BlockDesc& d, bool is_shared, bool bf16)
      : count(is_shared ? 1 : d.experts),
        hidden(d.hidden),
        width(is_shared ? d.shared_dim : d.mlp_dim),
        gated(d.gated),
        gate_up(size(gated ? 2 * width : width, hidden), bf16),
        down(size(width, hidden), bf16) {
    if (d.biases && !is_shared) {
      gate_up_bias = {size(gated ? 2 * width : width, 1), bf16};
      down_bias = {size(hidden, 1), bf16};
    }
    if (d.shared_gate && is_shared) shared_gate = {size(hidden, 1), bf16};
  }
  size_t size(int64_t rows, int64_t columns) const { return static_cast<size_t>(count * rows * columns); }

  // Returns pointers to the weights from expert e on.
  template <typename Struct>
  Struct from(int64_t e, moehill::DType dtype) {
    const auto at = [&](plain::Tensor& t) -> char* {
      const size_t each = t.size() / static_cast<size_t>(count), bytes = dtype == moehill::DType::f32 ? 4 : 2;
      return t.size() == 0 ? nullptr : static_cast<char*>(t.data()) + static_cast<size_t>(e) * each * bytes;
    };
    Struct s;
    s.dtype = dtype;
    (gated ? s.gate_up : s.gate) = at(gate_up);
    (gated ? s.gate_up_bias : s.gate_bias) = at(gate_up_bias);
    s.down = at(down);
    s.down_bias = at(down_bias);
    s.shared_gate = at(shared_gate);
    return s;
  }

  // Returns a copy of expert e as the plain implementation takes it.
  plain::Mlp expert(int64_t e) const {
    const auto part = [&](const plain::Tensor& t, int64_t which, int64_t of) {
      if (which >= of) return plain::Values();
      const plain::Values all = t.values();
      const int64_t n = static_cast<int64_t>(t.size()) / count / of;
      const auto first = all.begin() + (e * of + which) * n;
      return plain::Values(first, first + n);
    };
    const int64_t of = gated ? 2 : 1;
    return {part(gate_up, 0, of),      part(gate_up, 1, of),      part(down, 0, 1),
            part(gate_up_bias, 0, of), part(gate_up_bias, 1, of), part(down_bias, 0, 1),
            part(shared_gate, 0, 1)};
  }

  int64_t count, hidden, width;
  bool gated;
  plain::Tensor gate_up, down, gate_up_bias, down_bias, shared_gate;
};

// Tokens are the inputs of one step.
struct Tokens {
  int64_t count = 0;
  plain::Tensor x, dy;
  std::vector<int32_t> ids;
  std::vector<float> gates;
};

// Returns random rows. Some choices have no expert and many have expert 0, so that groups of uneven size are
// tested.
inline Tokens random_tokens(const moehill::BlockDesc& d, int64_t count, uint32_t seed, size_t skipped = 0) {
  std::mt19937 random(seed);
  const bool bf16 = d.dtype == moehill::DType::bf16;
  Tokens t{count,
           {static_cast<size_t>(count * d.hidden), bf16, skipped},
           {static_cast<size_t>(count * d.hidden), bf16, skipped},
           {},
           {}};
  plain::fill(t.x, random, 1);
  plain::fill(t.dy, random, 1);
  for (int64_t i = 0; i < count * d.topk; ++i) {
    const int32_t id = static_cast<int32_t>(random() % static_cast<uint32_t>(d.experts + d.zero_experts));
    const uint32_t kind = static_cast<uint32_t>(random() % 8);
    t.ids.push_back(kind == 0 ? -1 : kind == 1 ? 0 : id);
    t.gates.push_back(static_cast<float>(random() % 1000) / 1000 - 0.2f);
  }
  return t;
}

// Pair is a block of the interface and the plain implementation with the same weights.
struct Pair {
  Pair(const moehill::Context& context, const moehill::BlockDesc& desc, uint32_t seed)
      : d(desc),
        bf16(desc.dtype == moehill::DType::bf16),
        block(context, desc),
        experts(desc, false, bf16),
        shared(desc, true, bf16) {
    std::mt19937 random(seed);
    moe.sizes = sizes_of(desc);
    moe.form = form_of(desc);
    for (CallersWeights* w : {&experts, &shared}) {
      for (plain::Tensor* t : {&w->gate_up, &w->down, &w->shared_gate})
        plain::fill(*t, random, 1 / std::sqrt(static_cast<double>(desc.hidden)));
      for (plain::Tensor* t : {&w->gate_up_bias, &w->down_bias}) plain::fill(*t, random, 0.5);
    }
    for (int e = 0; e < desc.experts; ++e) moe.experts.push_back(experts.expert(e));
    const int first = block.first_expert();
    block.load_experts(first, block.num_experts(), experts.from<moehill::Weights>(first, desc.dtype));
    if (desc.shared_dim == 0) return;
    moe.shared = shared.expert(0);
    block.load_shared(shared.from<moehill::Weights>(0, desc.dtype));
  }

  // Runs a step of both and expects results that agree within the tolerances.
  void expect_step(const Tokens& t, double forward_tolerance, double tolerance) {
    const plain::Values dy = t.dy.values();
    const plain::Result expected = moe.run(t.count, t.x.values(), t.ids, t.gates, &dy);
    plain::Tensor y(t.x.size(), bf16), dx(t.x.size(), bf16), d_gates(t.gates.size(), false);
    block.plan(t.count, t.ids.data(), t.gates.data());
    block.forward(t.x.data(), y.data());
    EXPECT_LE(plain::difference(y.values(), expected.y), forward_tolerance);
    if (!d.training) return;
    block.backward(t.x.data(), t.dy.data(), dx.data(), static_cast<float*>(d_gates.data()));
    EXPECT_LE(plain::difference(dx.values(), expected.dx), tolerance);
    EXPECT_LE(plain::difference(d_gates.values(), expected.d_gates), tolerance);
    expect_gradients(expected, tolerance);
  }

  void expect_gradients(const plain::Result& expected, double tolerance) {
    CallersWeights got(d, false, false);
    block.store_expert_gradients(0, d.experts, got.from<moehill::Gradients>(0, moehill::DType::f32));
    for (int e = 0; e < d.experts; ++e)
      expect_mlp(got.expert(e), expected.d_experts[static_cast<size_t>(e)], tolerance);
    if (d.shared_dim == 0) return;
    CallersWeights s(d, true, false);
    block.store_shared_gradients(s.from<moehill::Gradients>(0, moehill::DType::f32));
    expect_mlp(s.expert(0), expected.d_shared, tolerance);
  }

  static void expect_mlp(const plain::Mlp& got, const plain::Mlp& expected, double tolerance) {
    const auto expect = [&](const char* what, plain::Values plain::Mlp::*part) {
      EXPECT_LE(plain::difference(got.*part, expected.*part), tolerance) << what;
    };
    expect("gate", &plain::Mlp::gate);
    expect("up", &plain::Mlp::up);
    expect("down", &plain::Mlp::down);
    expect("gate_bias", &plain::Mlp::gate_bias);
    expect("up_bias", &plain::Mlp::up_bias);
    expect("down_bias", &plain::Mlp::down_bias);
    expect("shared_gate", &plain::Mlp::shared_gate);
  }

  moehill::BlockDesc d;
  bool bf16;
  moehill::Block block;
  CallersWeights experts, shared;
  plain::Moe moe;
};

}  // namespace moehill_test
