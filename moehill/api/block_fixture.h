// A block of the public interface with random weights, and the plain one with the same.
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

// One expert's, or several experts' gate_up [E, 2M, H] and down [E, H, M] in the caller's memory.
struct CallersWeights {
  CallersWeights(int64_t count, int64_t hidden, int64_t width, bool bf16)
      : gate_up(static_cast<size_t>(count * 2 * width * hidden), bf16),
        down(static_cast<size_t>(count * width * hidden), bf16) {}
  plain::Tensor gate_up, down;

  plain::Mlp expert(int64_t e, int64_t hidden, int64_t width) const {
    const plain::Values both = gate_up.values(), all = down.values();
    const int64_t n = width * hidden;
    return {{both.begin() + 2 * e * n, both.begin() + (2 * e + 1) * n},
            {both.begin() + (2 * e + 1) * n, both.begin() + (2 * e + 2) * n},
            {all.begin() + e * n, all.begin() + (e + 1) * n}};
  }
};

struct Tokens {
  int64_t count = 0;
  plain::Tensor x, dy;
  std::vector<int32_t> ids;
  std::vector<float> gates;
};

// Random rows; some choices are nobody's, and expert 0 has many.
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
    const int32_t id = static_cast<int32_t>(random() % static_cast<uint32_t>(d.experts));
    const uint32_t kind = static_cast<uint32_t>(random() % 8);
    t.ids.push_back(kind == 0 ? -1 : kind == 1 ? 0 : id);
    t.gates.push_back(static_cast<float>(random() % 1000) / 1000 - 0.2f);
  }
  return t;
}

struct Pair {
  Pair(const moehill::Context& context, const moehill::BlockDesc& desc, uint32_t seed)
      : d(desc),
        bf16(desc.dtype == moehill::DType::bf16),
        block(context, desc),
        experts(desc.experts, desc.hidden, desc.mlp_dim, bf16),
        shared(1, desc.hidden, desc.shared_dim, bf16) {
    std::mt19937 random(seed);
    moe.sizes = sizes_of(desc);
    for (plain::Tensor* t : {&experts.gate_up, &experts.down, &shared.gate_up, &shared.down})
      plain::fill(*t, random, 1 / std::sqrt(static_cast<double>(desc.hidden)));
    for (int e = 0; e < desc.experts; ++e)
      moe.experts.push_back(experts.expert(e, desc.hidden, desc.mlp_dim));
    const int first = block.first_expert(), count = block.num_experts();
    const size_t width = bf16 ? 2 : 4;
    const auto at = [&](const plain::Tensor& t) {
      const size_t each = t.size() / static_cast<size_t>(desc.experts);
      return static_cast<const char*>(t.data()) + static_cast<size_t>(first) * each * width;
    };
    block.load_experts(first, count,
                       {.gate_up = at(experts.gate_up), .down = at(experts.down), .dtype = desc.dtype});
    if (desc.shared_dim == 0) return;
    moe.shared = shared.expert(0, desc.hidden, desc.shared_dim);
    block.load_shared({.gate_up = shared.gate_up.data(), .down = shared.down.data(), .dtype = desc.dtype});
  }

  // Runs a step of both and expects the same, within `tolerance`.
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
    CallersWeights got(d.experts, d.hidden, d.mlp_dim, false);
    block.store_expert_gradients(0, d.experts, {.gate_up = got.gate_up.data(), .down = got.down.data()});
    for (int e = 0; e < d.experts; ++e)
      expect_mlp(got.expert(e, d.hidden, d.mlp_dim), expected.d_experts[static_cast<size_t>(e)], tolerance);
    if (d.shared_dim == 0) return;
    CallersWeights s(1, d.hidden, d.shared_dim, false);
    block.store_shared_gradients({.gate_up = s.gate_up.data(), .down = s.down.data()});
    expect_mlp(s.expert(0, d.hidden, d.shared_dim), expected.d_shared, tolerance);
  }

  static void expect_mlp(const plain::Mlp& got, const plain::Mlp& expected, double tolerance) {
    EXPECT_LE(plain::difference(got.gate, expected.gate), tolerance);
    EXPECT_LE(plain::difference(got.up, expected.up), tolerance);
    EXPECT_LE(plain::difference(got.down, expected.down), tolerance);
  }

  moehill::BlockDesc d;
  bool bf16;
  moehill::Block block;
  CallersWeights experts, shared;
  plain::Moe moe;
};

}  // namespace moehill_test
