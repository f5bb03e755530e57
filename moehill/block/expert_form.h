// ExpertForm: what an expert computes of a row, and what stands around the experts. A value, with a text
// form.
#pragma once

#include <cstdint>
#include <string>

#include "moehill/kernels/activation.h"

namespace moehill {

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
