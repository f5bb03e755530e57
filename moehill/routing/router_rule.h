// RouterRule: how a model's router makes choices and gate values of its logits. A value, with a text form.
#pragma once

#include <cstdint>
#include <string>

#include "moehill/base/words.h"

namespace moehill {

inline constexpr int kMostGroups = 256, kMostChoices = 1024;

// The score of a logit z. `chosen_softmax` is the softmax over a token's chosen experts alone, so that there
// is no score of the others; sqrt_softplus is sqrt(ln(1 + e^z)). `sparsemixer` (Phi-3.5-MoE) has no score of
// an expert alone, but one for each choice, as below.
enum class RouterScore { chosen_softmax, softmax, sigmoid, sqrt_softplus, sparsemixer };
constexpr auto words(RouterScore) {
  return std::array{"chosen-softmax", "softmax", "sigmoid", "sqrt-softplus", "sparsemixer"};
}

// Let s be the scores of a token's E experts and b the selection bias, all in f32.
//   key    = s + b with a bias or with groups, else the logit, whose order is that of s
//   choice = the k largest keys, ties to the lower id. With groups only experts of the `kept_groups` best
//            groups (ties likewise); a group's rank is by the sum of its best two keys, or by its best key.
//            With a hash table: the experts that the table has for the token's id.
//   p_j    = factor * scale_j * s_j, or with `normalized` factor * scale_j * s_j / max(sum of the chosen s,
//            least_sum)
// Gradients flow through the chosen scores alone: a bias, groups and a table have none.
// With sparsemixer p_j is the softmax, at choice j, over the experts that are not chosen before it and whose
// logit z has (m - z) / max(|z|, m) <= 2 jitter, m the largest logit of those not chosen before. Gradients
// flow through these logits; who is among them has none. That is the model's inference; in training it draws
// a choice among them at random, which a rule that every device repeats does not.
struct RouterRule {
  RouterScore score = RouterScore::chosen_softmax;
  bool bias = false;                // selection bias
  int groups = 1, kept_groups = 1;  // of experts with neighbouring ids, all of one size
  bool best_two = true;             // of a group's keys; else its best
  double jitter = 0.01;             // of sparsemixer
  bool normalized = false;
  double least_sum = 1e-20;
  double factor = 1;
  bool expert_scale = false;    // scale_j is an expert's, else 1
  int zero_experts = 0;         // identity experts: ids E, E + 1, ... beside the real ones
  bool input_weighted = false;  // p multiplies an expert's input, not its output
  int64_t hash_ids = 0;         // token ids of a hash table; 0: none

  bool operator==(const RouterRule&) const = default;
};

// "chosen-softmax", "sigmoid,bias,groups:8/4,normalized,factor:2.5": the score, then what differs from
// RouterRule{}.
std::string to_string(const RouterRule& rule);

// The inverse, with or without kInStep and kProduct. Throws InputError for what is no word of a rule, is
// there twice or contradicts another word.
inline constexpr const char *kInStep = "in-step", *kProduct = "product";
RouterRule parse_router_rule(const std::string& text);

// Throws InputError where the rule cannot choose topk of these experts.
void refuse_impossible(const RouterRule& rule, int num_experts, int topk);

// Logits of a token: its experts, and the zero experts behind them.
inline int num_logits(const RouterRule& rule, int num_experts) { return num_experts + rule.zero_experts; }

}  // namespace moehill
