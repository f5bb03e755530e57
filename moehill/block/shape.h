// MoeShape is the problem: it says what is computed. block/options.h says how.
//
//   const MoeShape shape{.tokens = 4096, .hidden = 2048, .mlp_dim = 768, .experts = 128, .topk = 8};
//   model_flops(shape, Pass::forward, shape.assignments());
#pragma once

#include <cstdint>
#include <string>

#include "moehill/base/fields.h"
#include "moehill/block/expert_form.h"
#include "moehill/routing/distribution_options.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// The comments have the letters that comments and docs use for the sizes.
struct MoeShape {
  int64_t tokens = 0;      // T
  int64_t hidden = 0;      // H
  int64_t mlp_dim = 0;     // M, the width of a routed expert
  int experts = 0;         // E
  int topk = 0;            // k
  int64_t shared_dim = 0;  // S, the width of the shared expert; 0: none
  DType dtype = DType::bf16;
  RouterRule router{};
  ExpertForm form{};

  int64_t assignments() const { return tokens * topk; }                    // A
  int num_logits() const { return moehill::num_logits(router, experts); }  // L, the logits of a token
  // Returns the width of the rows that experts see.
  int64_t expert_hidden() const { return form.latent > 0 ? form.latent : hidden; }
  // These return the numbers of weights of an expert, of the products around the experts, of the shared
  // expert, and of the block.
  int64_t expert_weights() const {
    const int64_t biases = form.biases ? (form.num_matrices() - 1) * mlp_dim + expert_hidden() : 0;
    return form.num_matrices() * expert_hidden() * mlp_dim + biases;
  }
  int64_t latent_weights() const {
    return 2 * hidden * form.latent + (form.latent_norm > 0 ? form.latent : 0);
  }
  int64_t shared_weights() const {
    const int64_t gate = form.shared_gate && shared_dim > 0 ? hidden : 0;
    return form.num_matrices() * hidden * shared_dim + gate;
  }
  int64_t weights() const { return experts * expert_weights() + shared_weights() + latent_weights(); }
  bool operator==(const MoeShape&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"tokens", "tokens T", 1, kMaxDimension}, self.tokens);
    visit(Field{"hidden", "model width H", 1, kMaxDimension}, self.hidden);
    visit(Field{"mlp_dim", "width M of a routed expert", 1, kMaxDimension}, self.mlp_dim);
    visit(Field{"experts", "routed experts E", 1, 65536}, self.experts);
    visit(Field{"topk", "experts per token k", 1, 1024}, self.topk);
    visit(Field{"shared_expert_dim", "width S of the shared expert; 0: none", 0, kMaxDimension},
          self.shared_dim);
    visit(Field{"dtype", "storage; accumulation is f32"}, self.dtype);
    std::string rule = to_string(self.router);
    visit(Field{"router"}, Told{rule});
    if constexpr (!std::is_const_v<Self>) self.router = parse_router_text(rule);
    std::string form = to_string(self.form);
    visit(Field{"expert_form"}, Told{form});
    if constexpr (!std::is_const_v<Self>) self.form = parse_expert_form(form);
  }
};

// Returns the sizes as text; the expert form and the router's rule are added if they are not the default.
std::string to_string(const MoeShape& shape);

// Pass is a forward pass, or a forward and a backward pass.
enum class Pass { forward, forward_backward };
constexpr auto words(Pass) { return std::array{"forward", "forward_backward"}; }

// Returns the FLOPs of the router's own product x W_g: 2 T H L forward, three times that with backward.
double router_flops(const MoeShape& shape, Pass pass);

// Returns the model FLOPs of a step (docs/metrics.md). Forward: 6 T k H M + 6 T H S, with 4 instead of 6 if
// experts are not gated; with backward three times that. With experts of width H', the first term has H'
// instead of H, and 4 T H H' is added. `num_assignments` is T k less the assignments that the capacity drops.
double model_flops(const MoeShape& shape, Pass pass, int64_t num_assignments);

}  // namespace moehill
