// RouterReference has a router's scores and gate values in double, with the errors that a router in f32 may
// have, and the slopes of the gate values. The check, the audit and the oracle compare a router with them. It
// shares no code with routing/router.cc, and it chooses no experts.
//
//   const RouterReference reference(router, token_logits);
//   for (const Bounded& p : reference.gate_values(choices_of(routing, token))) print(p.value, p.error);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/routing/router.h"

namespace moehill {

// Bounded is a number with the largest error that an f32 computation of it may have.
struct Bounded {
  double value = 0, error = 0;
};

// RouterReference is the reference of one token.
class RouterReference {
 public:
  // Takes one token's logits [L]. Both arguments must live as long as this object.
  RouterReference(const Router& router, std::span<const float> logits);

  Bounded score(size_t e) const;  // not for chosen_softmax and sparsemixer, which have no scores
  Bounded key(size_t e) const;    // the number that experts are chosen by
  // Returns the gate values of these choices.
  std::vector<Bounded> gate_values(std::span<const int32_t> chosen) const;
  // Slopes have the derivatives of gate value j by logit e, with the choices held fixed, and the sums of the
  // sizes of their terms; both are [k, L].
  struct Slopes {
    Dense<double> value, size;
  };
  Slopes slopes(std::span<const int32_t> chosen) const;

 private:
  Slopes mixer_slopes(std::span<const int32_t> chosen) const;
  double factor_of(int32_t e) const;  // the factor of a gate value: the rule's times the expert's

  const Router& router_;
  std::span<const float> logits_;
  std::vector<Bounded> softmax_;  // over all logits, if scores are that
};

// Returns which logits a token chose, [k]; kNoExpert for a choice that no expert got.
std::vector<int32_t> choices_of(const Routing& routing, int64_t token);

// Returns the slopes of a token's gate values. Without a router the gate values are a softmax over the
// chosen, and the slopes follow from the gate values only.
RouterReference::Slopes gate_slopes(const Router* router, const float* logits, const Routing& routing,
                                    int64_t token);

}  // namespace moehill
