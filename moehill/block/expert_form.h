// ExpertForm: what an expert computes of a row, and what stands around the experts. A value, with a text
// form.
#pragma once

#include <cstdint>
#include <string>

#include "moehill/kernels/activation.h"

namespace moehill {

struct ExpertForm {
  Activation activation{};   // of the shared expert too
  bool biases = false;       // of the routed experts: added to g, u and the expert's output
  int64_t latent = 0;        // width of the rows that experts see, between two products; 0: H
  bool shared_gate = false;  // the shared expert's output times sigmoid(x w)
  int64_t parallel_mlp = 0;  // width of a dense MLP beside the experts, with norms of its own

  // Matrices of an expert: W1, W2 and, where it is gated, W3.
  int num_matrices() const { return activation.gated ? 3 : 2; }
  bool operator==(const ExpertForm&) const = default;
};

// "silu", "swiglu-oai,limit:7,alpha:1.702,biases": the activation, then what differs from ExpertForm{}.
std::string to_string(const ExpertForm& form);

// The inverse; alpha is 1.702, beta 4 and linear-beta 25 where the text does not say them. Throws InputError
// for what is no word of a form, is there twice or contradicts another word.
ExpertForm parse_expert_form(const std::string& text);

// One of each kind, with limits that many values of random operands pass: what the check and tests run
// through.
inline constexpr const char* kExpertForms[] = {"silu",
                                               "silu,limit:0.6",
                                               "swiglu-oai,limit:0.6",
                                               "gelu-tanh",
                                               "relu2",
                                               "relu2,ungated",
                                               "situ,beta:1,linear-beta:2",
                                               "silu,shared-gate",
                                               "swiglu-oai,limit:0.6,biases",
                                               "relu2,ungated,biases,shared-gate"};

// Throws InputError for what a model may ask of its experts and the block does not do.
void refuse_unbuilt(const ExpertForm& form);
// The form without that.
ExpertForm built_part(ExpertForm form);

}  // namespace moehill
