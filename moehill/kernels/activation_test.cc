// SwiGLU where the sigmoid is 0 or 1 in f32: activations of real models go there.
#include "moehill/kernels/activation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moehill {
namespace {

TEST(SwiGlu, HoldsFarFromZero) {
  constexpr int64_t kWidth = 16;
  const float gates[kWidth] = {-3e38f, -1e4f, -1000, -200, -105, -104, -95,   -88,
                               88,     95,    105,   1000, 1e4f, 0,    1.25f, -1.25f};
  Matrix gate = Matrix::tight(1, kWidth, DType::f32), up = Matrix::tight(1, kWidth, DType::f32);
  Matrix h = Matrix::tight(1, kWidth, DType::f32), dh = Matrix::tight(1, kWidth, DType::f32);
  for (int64_t m = 0; m < kWidth; ++m) {
    gate.view().set(0, m, gates[m]);
    up.view().set(0, m, 2);
    dh.view().set(0, m, 3);
  }
  ThreadTeam team(1);
  const GateUpView both = separate_gate_up(gate, up);
  activation_forward(team, Activation::silu, both, nullptr, h);
  activation_backward(team, Activation::silu, both, dh, {});
  for (int64_t m = 0; m < kWidth; ++m) {
    const double g = static_cast<double>(gates[m]), s = 1 / (1 + std::exp(-g));
    const auto expect = [&](const Matrix& actual, double right) {
      EXPECT_NEAR(static_cast<double>(actual.view().at(0, m)), right, 1e-6 * std::abs(right) + 1e-33) << g;
    };
    expect(h, 2 * g * s);
    expect(up, 3 * g * s);
    expect(gate, 6 * s * (1 + g * (1 - s)));
  }
}

}  // namespace
}  // namespace moehill
