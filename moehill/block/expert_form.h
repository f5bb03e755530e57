// ExpertForm: what an expert computes of a row, and what stands around the experts. A value, with a text
// form.
#pragma once

#include <cstdint>
#include <string>

#include "moehill/base/words.h"

namespace moehill {

// With g = x W1 and u = x W3, limits where they are not 0:
//   silu        silu(min(g, limit)) clamp(u, -limit, limit)
//   swiglu_oai  with g and u clamped likewise: g sigmoid(alpha g) (u + 1)
//   gelu_tanh   gelu(g) u, gelu in its approximation by tanh
//   relu2       max(g, 0)^2, or times u where there is a W3
//   situ        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
enum class Activation { silu, swiglu_oai, gelu_tanh, relu2, situ };
constexpr auto words(Activation) { return std::array{"silu", "swiglu-oai", "gelu-tanh", "relu2", "situ"}; }

struct ExpertForm {
  Activation activation = Activation::silu;
  double limit = 0, alpha = 0;       // of silu and swiglu_oai
  double beta = 0, linear_beta = 0;  // of situ
  bool gated = true;                 // there is a W3
  bool biases = false;               // added to g, u and the expert's output
  int64_t latent = 0;                // width of the rows that experts see, between two products; 0: H
  bool shared_gate = false;          // the shared expert's output times sigmoid(x w)
  int64_t parallel_mlp = 0;          // width of a dense MLP beside the experts, with norms of its own

  bool operator==(const ExpertForm&) const = default;
};

// "silu", "swiglu-oai,limit:7,alpha:1.702,biases": the activation, then what differs from ExpertForm{}.
std::string to_string(const ExpertForm& form);

}  // namespace moehill
