#include "moehill/block/expert_form.h"

#include <fmt/format.h>

namespace moehill {

std::string to_string(const ExpertForm& form) {
  std::string text = name_of(form.activation);
  const auto add = [&](bool differs, const std::string& word) {
    if (differs) text += "," + word;
  };
  add(form.limit != 0, fmt::format("limit:{:g}", form.limit));
  add(form.alpha != 0, fmt::format("alpha:{:g}", form.alpha));
  add(form.beta != 0, fmt::format("beta:{:g}", form.beta));
  add(form.linear_beta != 0, fmt::format("linear-beta:{:g}", form.linear_beta));
  add(!form.gated, "ungated");
  add(form.biases, "biases");
  add(form.latent != 0, fmt::format("latent:{}", form.latent));
  add(form.shared_gate, "shared-gate");
  add(form.parallel_mlp != 0, fmt::format("parallel-mlp:{}", form.parallel_mlp));
  return text;
}

}  // namespace moehill
