// ExpertForm says what an expert computes from a row, and which products surround the experts. It is a value
// with a text form; moe/ computes it, and kernels/activation.h has the formulas of the activations.
//
//   const ExpertForm oss = parse_expert_form("swiglu-oai,limit:7,biases");   // gpt-oss
#pragma once

#include <cstdint>
#include <string>

#include "moehill/kernels/activation.h"

namespace moehill {

// These are the parts of a form. g and u are the products x W1 and x W3; H is the model's width.
struct ExpertForm {
  Activation activation{};  // for the shared expert too
  bool biases = false;      // routed experts only: added to g, u and the expert's output
  // H': the width of the rows that experts see. One more product makes these rows from x, and another brings
  // the sums back to H. 0: experts see rows of H.
  int64_t latent = 0;
  double latent_norm = 0;    // eps of a norm between the experts' sum and the product back to H; 0: no norm
  bool shared_gate = false;  // the shared expert's output is multiplied by sigmoid(x w)

  // Returns the number of matrices of an expert: W1, W2 and, if it is gated, W3.
  int num_matrices() const { return activation.gated ? 3 : 2; }
  bool operator==(const ExpertForm&) const = default;
};

// Returns the text, such as "silu" or "swiglu-oai,limit:7,alpha:1.702,biases": the activation, then what
// differs from ExpertForm{}.
std::string to_string(const ExpertForm& form);

// Reads such a text. Without a value in the text, alpha is 1.702, beta is 4 and linear-beta is 25. Throws
// InputError for a word that is unknown, is there twice or contradicts another word.
ExpertForm parse_expert_form(const std::string& text);

// This is one form of each kind, for the check and the tests. Limits are so low that many values of random
// operands exceed them.
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
// Forms whose experts have another width than the model. Fewer paths support them.
inline constexpr const char* kLatentForms[] = {"relu2,ungated,latent:24",
                                               "situ,beta:1,linear-beta:2,latent:20,latent-norm:1e-05",
                                               "silu,latent:33,biases,shared-gate"};

}  // namespace moehill
