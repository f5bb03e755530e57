// RouterObject is a router of the C interface. It makes choices and gate values from the caller's logits, and
// the gradient of the logits. It does not make the logits.
//
//     RouterObject router(context, &desc);
//     router.route({tokens, logits}, expert_ids, gates);              // [tokens, k] each
//     router.backward({tokens, logits, expert_ids, d_gates, d_logits});
#pragma once

#include <memory>

#include "moehill/api/context.h"
#include "moehill/routing/router.h"

namespace moehill {

class RouterObject {
 public:
  RouterObject(std::shared_ptr<Context> context, const moehill_router_desc* given);

  // Sets `bias` [E]. Throws Failure if the router was made without a bias.
  void set_bias(const float* bias);
  // Tokens have logits [count, E] and, for a router with a table, token_ids [count]. route() writes
  // expert_ids and gates [count, k]. It throws Failure for a NaN among the logits.
  struct Tokens {
    int64_t count = 0;
    const float* logits = nullptr;
    const int32_t* token_ids = nullptr;
  };
  void route(const Tokens& tokens, int32_t* expert_ids, float* gates);
  // Gradient has the arguments of backward(), which makes d_logits [count, E] from d_gates [count, k] and the
  // choices that route() made.
  struct Gradient {
    int64_t count = 0;
    const float* logits = nullptr;
    const int32_t* expert_ids = nullptr;
    const float* d_gates = nullptr;
    float* d_logits = nullptr;
  };
  void backward(const Gradient& gradient);

 private:
  void require_token_ids(const Tokens& tokens) const;
  void require_choices(const Gradient& gradient) const;

  std::shared_ptr<Context> context_;
  int experts_ = 0, topk_ = 0;
  Router router_;
  Routing routing_;  // of the running call
};

}  // namespace moehill
