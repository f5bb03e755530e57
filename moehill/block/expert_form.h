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
  int64_t latent = 0;        // H', width of the rows that experts see, between two products; 0: H
  double latent_norm = 0;    // the eps of a norm between the experts' sum and the product back to H; 0: none
  bool shared_gate = false;  // the shared expert's output times sigmoid(x w)

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
// Those with experts of another width than the model's, which fewer paths have.
inline constexpr const char* kLatentForms[] = {"relu2,ungated,latent:24",
                                               "situ,beta:1,linear-beta:2,latent:20,latent-norm:1e-05",
                                               "silu,latent:33,biases,shared-gate"};

}  // namespace moehill
