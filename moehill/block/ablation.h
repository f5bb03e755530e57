// Ablation: stages that a step leaves out, to measure what they cost (`bench --ablate`). Such a step has no
// results, is never checked, and is no result of a bench either.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/stages.h"

namespace moehill {

struct RunConfig;

// A word stands for the stages that are left out together:
//   exchange     rows, sums and gradients are packed and added, and not moved
//   experts      all products and activations of the routed experts
//   weight_grad  the products that give the routed experts' weights their gradients
//   a stage      that stage and its gradient's: `shared` is shared and shared_grad; `shared_grad` is itself
struct Ablation {
  std::string word;  // empty: nothing
  StageSet stages;
  bool empty() const { return stages.empty(); }
  bool operator==(const Ablation&) const = default;
};

// Reads one word; an empty word leaves nothing out. Throws InputError that names --ablate.
Ablation parse_ablation(const std::string& word);
// Reads several words with commas between them. No word may be there twice.
std::vector<Ablation> parse_ablations(const std::string& words);
// Returns all words, with | between them.
std::string ablation_words();

// The stages that a step of this configuration has work in.
StageSet stages_of_step(const RunConfig& config);

}  // namespace moehill
