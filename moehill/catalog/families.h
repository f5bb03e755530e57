// Families tell what a model_type means where the keys of a configuration do not say it. Most differences
// between models are in keys; a family says the rest, which otherwise only the model's code says.
//
//   const Family family = family_of("qwen3_moe");
//   read_router(keys, family, block, false);
#pragma once

#include <string>

#include "moehill/catalog/model_block.h"

namespace moehill {

// SharedWidth says which keys give the total width of the shared experts. With `beside` a dense MLP of
// intermediate_size stands beside the experts (Gemma 4); except for its norms it is a shared expert.
enum class SharedWidth { by_keys, none, expert_width, beside };

// Family holds the properties of a family.
struct Family {
  bool known = false;
  RouterScore score = RouterScore::softmax;  // if no key says it
  bool bias = false;                         // if no key says it
  bool normalized = false;
  double least_sum = 1e-20;
  // The experts' width is in intermediate_size instead of moe_intermediate_size.
  bool width_is_intermediate = false;
  SharedWidth shared = SharedWidth::by_keys;
  bool shared_gate = false;
  bool scaled_experts = false, input_weighted = false;
  ActivationFunction activation = ActivationFunction::silu;
  bool ungated = false, biases = false;

  // Returns the key that has the experts' width in this configuration.
  std::string width_key(const ConfigKeys& keys) const;
  // Returns the width of all shared experts of a layer together; 0 if it has none.
  int64_t shared_width(const ConfigKeys& keys, int64_t layer, int64_t mlp_dim) const;
};

// Returns the family of a model_type; for one that is not in the table, a family that is not `known`.
Family family_of(const std::string& model_type);

// Sets shape.router, and notes what it leaves out and assumes. `hashed` is true if a table, and not a router,
// chooses the experts of this layer.
void read_router(const ConfigKeys& keys, const Family& family, ModelBlock& block, bool hashed);
// Sets shape.form in the same way.
void read_expert_form(const ConfigKeys& keys, const Family& family, ModelBlock& block);

}  // namespace moehill
