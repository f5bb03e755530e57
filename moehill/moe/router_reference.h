// A router's scores in double with the errors that f32 may make of them, and the slopes of its gate values:
// what the check, the audit and the oracle hold a router to. It shares no code with routing/router.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/routing/router.h"

namespace moehill {

// A number and the largest error of f32 about it.
struct Bounded {
  double value = 0, error = 0;
};

class RouterReference {
 public:
  // One token's logits [L]. Both are read as long as this lives.
  RouterReference(const Router& router, std::span<const float> logits);

  Bounded score(size_t e) const;  // not with chosen_softmax or sparsemixer, which have none
  Bounded key(size_t e) const;    // what experts are chosen by
  // The gate values of these choices.
  std::vector<Bounded> gate_values(std::span<const int32_t> chosen) const;
  // d gate value j / d logit e with the choices held, and the sum of the sizes of its terms; both [k, L].
  struct Slopes {
    Dense<double> value, size;
  };
  Slopes slopes(std::span<const int32_t> chosen) const;

 private:
  Slopes mixer_slopes(std::span<const int32_t> chosen) const;
  double factor_of(int32_t e) const;  // of a gate value: the rule's times the expert's

  const Router& router_;
  std::span<const float> logits_;
  std::vector<Bounded> softmax_;  // over all, where scores are that
};

// The logits of a token's choices, [k]; kNoExpert is nobody's.
std::vector<int32_t> choices_of(const Routing& routing, int64_t token);

// Slopes of a token's gate values. Without a router, that is with the softmax over the chosen, they come from
// the gate values alone.
RouterReference::Slopes gate_slopes(const Router* router, const float* logits, const Routing& routing,
                                    int64_t token);

}  // namespace moehill
