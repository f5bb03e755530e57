// The reference of each activation has the values of its formula, and its slopes agree with finite
// differences of these values.
#include "moehill/moe/activation_reference.h"

#include <gtest/gtest.h>

#include "moehill/block/expert_form.h"

namespace moehill {
namespace {

Activation activation(const char* form) { return parse_expert_form(form).activation; }

double h_of(const Activation& f, double g, double u) {
  return gate_factor(f, g).value * up_factor(f, u).value;
}

// The values come from Python's math module, by the formulas in the models' code; gelu is by tanh, not by the
// logistic function.
TEST(ActivationReference, HasTheValuesOfTheFormulas) {
  struct Case {
    const char* form;
    double g, u, h;
  };
  for (const Case& c : {Case{"silu", 0.75, -1.5, -0.7640760365723172},
                        Case{"silu,limit:7", 0.75, -1.5, -0.7640760365723172},
                        Case{"swiglu-oai", 0.75, -1.5, -0.29319502876731895},
                        Case{"swiglu-oai,limit:7", 0.75, -1.5, -0.29319502876731895},
                        Case{"gelu-tanh", 0.75, -1.5, -0.8699408327484304},
                        Case{"relu2", 0.75, -1.5, -0.84375},
                        Case{"relu2,ungated", 0.75, -1.5, 0.5625},
                        Case{"situ", 0.75, -1.5, -0.7543411775285054},
                        Case{"situ,beta:1.5,linear-beta:2", 0.75, -1.5, -0.5980437977909866},
                        Case{"silu", -2.25, 0.5, -0.10726814801149817},
                        Case{"silu,limit:7", -2.25, 0.5, -0.10726814801149817},
                        Case{"swiglu-oai", -2.25, 0.5, -0.07174819220490691},
                        Case{"swiglu-oai,limit:7", -2.25, 0.5, -0.07174819220490691},
                        Case{"gelu-tanh", -2.25, 0.5, -0.013600664948644314},
                        Case{"relu2", -2.25, 0.5, 0.0},
                        Case{"relu2,ungated", -2.25, 0.5, 0},
                        Case{"situ", -2.25, 0.5, -0.09721106924009502},
                        Case{"situ,beta:1.5,linear-beta:2", -2.25, 0.5, -0.06341341058321126},
                        Case{"silu", 9.5, -8.0, -75.9943116867092},
                        Case{"silu,limit:7", 9.5, -8.0, -48.95535849147437},
                        Case{"swiglu-oai", 9.5, -8.0, -66.49999368004296},
                        Case{"swiglu-oai,limit:7", 9.5, -8.0, -41.99971876981991},
                        Case{"gelu-tanh", 9.5, -8.0, -76.0},
                        Case{"relu2", 9.5, -8.0, -722.0},
                        Case{"relu2,ungated", 9.5, -8.0, 90.25},
                        Case{"situ", 9.5, -8.0, -30.41745709851063},
                        Case{"situ,beta:1.5,linear-beta:2", 9.5, -8.0, -2.997744598039858}}) {
    EXPECT_NEAR(h_of(activation(c.form), c.g, c.u), c.h, 1e-14 * std::max(1.0, std::abs(c.h)))
        << c.form << " " << c.g << " " << c.u;
  }
}

constexpr const char* kForms[] = {
    "silu",  "silu,limit:2",  "swiglu-oai", "swiglu-oai,limit:2",         "gelu-tanh",
    "relu2", "relu2,ungated", "situ",       "situ,beta:0.5,linear-beta:2"};

TEST(ActivationReference, DerivativesAreSlopes) {
  constexpr double kStep = 1e-4;
  for (const char* form : kForms) {
    const Activation f = activation(form);
    for (double x = -6.05; x < 6; x += 0.1) {
      const auto gate = [&](double at) { return gate_factor(f, at); };
      const auto up = [&](double at) { return up_factor(f, at); };
      const auto expect_slopes = [&](const auto& factor) {
        const Factor<double> below = factor(x - kStep), at = factor(x), above = factor(x + kStep);
        EXPECT_NEAR(at.first, (above.value - below.value) / (2 * kStep), 2e-7) << form << " " << x;
        EXPECT_NEAR(at.second, (above.first - below.first) / (2 * kStep), 2e-7) << form << " " << x;
      };
      expect_slopes(gate);
      expect_slopes(up);
    }
  }
}

TEST(ActivationReference, SmallSlopesKeepTheirDigitsInFloat) {
  for (const char* form : {"silu", "swiglu-oai", "gelu-tanh", "situ", "situ,beta:0.25,linear-beta:0.5"}) {
    const Activation f = activation(form);
    for (float x = 0.5f; x < 8; x += 0.25f) {
      const double gate = gate_factor(f, double{x}).first, up = up_factor(f, double{x}).first;
      EXPECT_NEAR(gate_factor(f, x).first, gate, 1e-5 * std::abs(gate)) << form << " " << x;
      EXPECT_NEAR(up_factor(f, x).first, up, 1e-5 * std::abs(up)) << form << " " << x;
    }
  }
}

TEST(ActivationReference, KnowsWhereADerivativeJumps) {
  const Activation clamped = activation("silu,limit:2");
  const double inside = gate_factor(activation("silu"), 2.0).first;
  EXPECT_EQ(near_gate_factor(clamped, 1.99, 0.02).jump, inside);
  EXPECT_EQ(near_gate_factor(clamped, 2.01, 0.02).jump, inside);
  EXPECT_EQ(near_gate_factor(clamped, 2.01, 0.02).slope, inside);
  EXPECT_EQ(near_gate_factor(clamped, 2.03, 0.02).jump, 0);
  EXPECT_EQ(near_gate_factor(clamped, 2.03, 0.02).slope, 0);
  EXPECT_EQ(near_gate_factor(clamped, -2.0, 0.02).jump, 0);
  EXPECT_EQ(near_up_factor(clamped, -2.01, 0.02).jump, 1);
  EXPECT_EQ(near_up_factor(clamped, 1.9, 0.02).jump, 0);
  EXPECT_EQ(near_gate_factor(activation("relu2"), -0.01, 0.02).second, 2);
  EXPECT_EQ(near_gate_factor(activation("relu2"), -0.03, 0.02).second, 0);
  EXPECT_FALSE(has_jumps(activation("situ")));
}

}  // namespace
}  // namespace moehill
