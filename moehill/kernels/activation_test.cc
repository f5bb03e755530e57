// Tests activations on vectors, also where a sigmoid is 0 or 1 in f32, since values in real models get there.
#include "moehill/kernels/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

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
  activation_forward(team, Activation{}, both, nullptr, h);
  activation_backward(team, Activation{}, both, dh, {});
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

// The formulas of kernels/activation.h in double, without a limit.
struct Formula {
  const char* name;
  Activation activation;
  double (*gate)(double g);
  double (*up)(double u);
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double plain(double u) { return u; }
double one(double) { return 1; }
double gelu(double g) { return g * sigmoid(std::sqrt(8 / M_PI) * (g + 0.044715 * g * g * g)); }

using F = ActivationFunction;
const Formula kFormulas[] = {
    {"silu", {}, [](double g) { return g * sigmoid(g); }, plain},
    {"swiglu-oai",
     {F::swiglu_oai, true, 0, 1.702},
     [](double g) { return g * sigmoid(1.702 * g); },
     [](double u) { return u + 1; }},
    {"gelu-tanh", {F::gelu_tanh}, gelu, plain},
    {"relu2", {F::relu2}, [](double g) { return g > 0 ? g * g : 0; }, plain},
    {"relu2,ungated", {F::relu2, false}, [](double g) { return g > 0 ? g * g : 0; }, one},
    {"situ",
     {F::situ, true, 0, 0, 2, 25},
     [](double g) { return 2 * std::tanh(g / 2) * sigmoid(g); },
     [](double u) { return 25 * std::tanh(u / 25); }},
};

double slope(double (*f)(double), double x) {
  const double step = 1e-4 * std::max(1.0, std::abs(x));
  return (8 * (f(x + step) - f(x - step)) - (f(x + 2 * step) - f(x - 2 * step))) / (12 * step);
}

// Runs an activation over a row, forward and backward with dh = 3 and the gate value 0.5.
struct Row {
  Row(const Activation& activation, const std::vector<float>& gates, const std::vector<float>& ups)
      : n(static_cast<int64_t>(gates.size())) {
    for (int64_t m = 0; m < n; ++m) {
      gate.view().set(0, m, gates[static_cast<size_t>(m)]);
      up.view().set(0, m, ups[static_cast<size_t>(m)]);
      dh.view().set(0, m, 3);
    }
    ThreadTeam team(1);
    const GateUpView both = separate_gate_up(gate, activation.gated ? up.view() : MatView{});
    activation_forward(team, activation, both, nullptr, h);
    const float p = 0.5f;
    const int32_t first = 0;
    activation_backward(team, activation, both, dh, {&p, &dp, &first});
  }
  static double at(const Matrix& m, int64_t i) { return static_cast<double>(m.view().at(0, i)); }

  int64_t n;
  Matrix gate = Matrix::tight(1, n, DType::f32), up = Matrix::tight(1, n, DType::f32),
         h = Matrix::tight(1, n, DType::f32), dh = Matrix::tight(1, n, DType::f32);
  float dp = 0;
};

TEST(Activation, HasTheValuesAndSlopesOfItsFormula) {
  std::vector<float> gates, ups;
  for (int i = 0; i < 203; ++i) {  // not a multiple of any vector
    gates.push_back(0.1f * static_cast<float>(i - 101) + 0.03f);
    ups.push_back(3 - 0.03f * static_cast<float>(i));
  }
  for (const Formula& f : kFormulas) {
    const Row row(f.activation, gates, ups);
    double dot = 0;
    for (int64_t i = 0; i < row.n; ++i) {
      const double g = static_cast<double>(gates[static_cast<size_t>(i)]),
                   u = static_cast<double>(ups[static_cast<size_t>(i)]);
      const auto expect = [&](const Matrix& actual, double right, const char* what) {
        EXPECT_NEAR(Row::at(actual, i), right, 2e-6 * std::abs(right) + 2e-9)
            << f.name << " " << what << " " << g;
      };
      expect(row.h, f.gate(g) * f.up(u), "h");
      expect(row.gate, 1.5 * slope(f.gate, g) * f.up(u), "dgate");
      if (f.activation.gated) expect(row.up, 1.5 * f.gate(g) * slope(f.up, u), "dup");
      expect(row.dh, 0.5 * f.gate(g) * f.up(u), "p h");
      dot += 3 * f.gate(g) * f.up(u);
    }
    EXPECT_NEAR(static_cast<double>(row.dp), dot, 1e-5 * std::abs(dot)) << f.name;
  }
}

TEST(Activation, IsFiniteFarFromZero) {
  const std::vector<float> far = {-3e38f, -1e30f, -1e4f, -1000, -105, -95, 95, 105, 1000, 1e4f, 1e18f};
  for (const Formula& f : kFormulas) {
    const Row row(f.activation, far, std::vector<float>(far.size(), 0.5f));
    for (int64_t i = 0; i < row.n; ++i) {
      for (const Matrix* m : {&row.h, &row.gate, &row.up})
        EXPECT_TRUE(std::isfinite(Row::at(*m, i))) << f.name << " " << far[static_cast<size_t>(i)];
    }
  }
}

// Beyond a limit the value stays the same and the slope is 0; at the limit the slope is the one inside; a NaN
// stays a NaN.
TEST(Activation, ClampsAtItsLimit) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (Activation a : {kFormulas[0].activation, kFormulas[1].activation}) {
    const std::vector<float> gates = {1.5f, 2, 2.5f, -9, 1, 1, 1, nan, 1};
    const std::vector<float> ups = {1, 1, 1, 1, 2, 2.5f, -3, 1, nan};
    const Row free(a, gates, ups);
    a.limit = 2;
    const Row row(a, gates, ups);
    const auto at = [](const Matrix& m, int64_t i) { return Row::at(m, i); };
    for (const int64_t i : {0, 1, 3, 4}) {
      EXPECT_NEAR(at(row.h, i), at(free.h, i), 1e-6) << i;
      EXPECT_NEAR(at(row.gate, i), at(free.gate, i), 1e-6) << i;
      EXPECT_NEAR(at(row.up, i), at(free.up, i), 1e-6) << i;
    }
    EXPECT_EQ(at(row.h, 2), at(row.h, 1));
    EXPECT_EQ(at(row.gate, 2), 0);
    EXPECT_EQ(at(row.up, 2), at(row.up, 1));
    EXPECT_EQ(at(row.h, 5), at(row.h, 4));
    EXPECT_EQ(at(row.up, 5), 0);
    EXPECT_EQ(at(row.up, 6), 0);
    EXPECT_TRUE(std::isnan(at(row.h, 7)));
    EXPECT_TRUE(std::isnan(at(row.h, 8)));
  }
}

}  // namespace
}  // namespace moehill
