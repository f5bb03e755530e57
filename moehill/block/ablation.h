// An Ablation is stages that a step leaves out, to measure what they cost (`bench --ablate`). Such a step
// computes wrong results on purpose: it is never checked, and its time is no result of a benchmark.
//
//   const Ablation no_exchange = parse_ablation("exchange");
//   no_exchange.stages.has(Stage::dispatch);   // true
#pragma once

#include <string>
#include <vector>

#include "moehill/block/stages.h"

namespace moehill {

struct RunConfig;

// Ablation has the stages of one word, which are left out together:
//   exchange     rows, sums and gradients are packed and added but not sent
//   rows         the exchange, and packing and adding rows: the step only computes
//   experts      all products and activations of the routed experts
//   weight_grad  the products that give the gradients of the routed experts' weights
//   a stage      that stage and its gradient: `shared` leaves out shared and shared_grad; `shared_grad` only
//   itself
struct Ablation {
  std::string word;  // empty: nothing is left out
  StageSet stages;
  bool empty() const { return stages.empty(); }
  bool operator==(const Ablation&) const = default;
};

// Reads one word; an empty one leaves nothing out. Throws InputError that names --ablate.
Ablation parse_ablation(const std::string& word);
// Reads several words between commas, none of them twice. Throws InputError.
std::vector<Ablation> parse_ablations(const std::string& words);
// Returns all words, separated by |, for help and messages.
std::string ablation_words();

// Returns the stages that have work in a step of this configuration.
StageSet stages_of_step(const RunConfig& config);

}  // namespace moehill
