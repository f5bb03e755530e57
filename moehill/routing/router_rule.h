// RouterRule says how a model's router makes choices and gate values from its logits. It is a value with a
// text form; router.h applies it, and router_families.h has the rules of known models.
//
//   const RouterRule deepseek_v3 = parse_router_rule("sigmoid,bias,groups:8/4,normalized,factor:2.5");
#pragma once

#include <cstdint>
#include <string>

#include "moehill/base/words.h"

namespace moehill {

inline constexpr int kMostGroups = 256, kMostChoices = 1024;

// RouterScore is the function that makes a score of a logit z. `chosen_softmax` is the softmax over only the
// experts that a token has chosen, so other experts have no score. sqrt_softplus is sqrt(ln(1 + e^z)).
// `sparsemixer` (Phi-3.5-MoE) has no score for each expert, but one for each choice, see RouterRule.
enum class RouterScore { chosen_softmax, softmax, sigmoid, sqrt_softplus, sparsemixer };
constexpr auto words(RouterScore) {
  return std::array{"chosen-softmax", "softmax", "sigmoid", "sqrt-softplus", "sparsemixer"};
}

// RouterRule is the rule of a router. Let s be the scores of a token's E experts and b the bias of the
// selection, all in f32.
//
//   key    = s + b if there is a bias or there are groups; otherwise the logit, which orders experts as s
//            does
//   choice = the k largest keys; of equal keys the lower id wins. With groups, only experts of the
//            `kept_groups` best groups can be chosen; a group is ranked by the sum of its best two keys, or
//            by its best key. With a hash table, the choices are the experts that the table has for the
//            token's id.
//   p_j    = factor * scale_j * s_j, and with `normalized` divided by max(sum of the chosen s, least_sum)
//
// Gradients flow only through the scores of the chosen experts; a bias, groups and a table have none.
//
// With sparsemixer, p_j is the softmax, at choice j, over the experts that were not chosen before it and
// whose logit z has (m - z) / max(|z|, m) <= 2 jitter, where m is the largest logit of those not chosen
// before. Gradients flow through these logits; which experts take part has no gradient. The model does this
// in inference. In training it draws a choice among these experts at random; devices that repeat the rule
// could not draw the same one.
struct RouterRule {
  RouterScore score = RouterScore::chosen_softmax;
  bool bias = false;                // there is a bias of the selection
  int groups = 1, kept_groups = 1;  // groups of experts with neighbouring ids, all of one size
  bool best_two = true;             // rank groups by the sum of their best two keys; false: by the best one
  double jitter = 0.01;             // for sparsemixer only
  bool normalized = false;
  double least_sum = 1e-20;
  double factor = 1;
  bool expert_scale = false;    // scale_j is the chosen expert's; false: 1
  int zero_experts = 0;         // identity experts, with the ids E, E + 1, ... behind the real ones
  bool input_weighted = false;  // gate values multiply the input of an expert, not its output
  int64_t hash_ids = 0;         // number of token ids of the hash table; 0: no table

  bool operator==(const RouterRule&) const = default;
};

// Returns the text, such as "chosen-softmax" or "sigmoid,bias,groups:8/4,normalized,factor:2.5": the score,
// then what differs from RouterRule{}.
std::string to_string(const RouterRule& rule);

// Reads such a text, with or without the words kInStep and kProduct. Throws InputError for a word that is
// unknown, is there twice or contradicts another word.
inline constexpr const char *kInStep = "in-step", *kProduct = "product";
RouterRule parse_router_rule(const std::string& text);

// Throws InputError if the rule cannot choose topk of these experts.
void refuse_impossible(const RouterRule& rule, int num_experts, int topk);

// Returns the number of logits of a token: one for each expert, and then one for each zero expert.
inline int num_logits(const RouterRule& rule, int num_experts) { return num_experts + rule.zero_experts; }

}  // namespace moehill
