// Families: what a model_type settles that the keys of a configuration leave open.
#pragma once

#include <string>

#include "moehill/catalog/model_block.h"

namespace moehill {

// Says which keys have the total width of the shared experts. `beside`: a dense MLP of intermediate_size
// stands beside the experts (Gemma 4), which is a shared expert but for norms.
enum class SharedWidth { by_keys, none, expert_width, beside };

struct Family {
  bool known = false;
  RouterScore score = RouterScore::softmax;  // without a key that says it
  bool bias = false;                         // likewise
  bool normalized = false;
  double least_sum = 1e-20;
  bool width_is_intermediate = false;  // the experts' width is intermediate_size, else moe_intermediate_size
  SharedWidth shared = SharedWidth::by_keys;
  bool shared_gate = false;
  bool scaled_experts = false, input_weighted = false;
  ActivationFunction activation = ActivationFunction::silu;
  bool ungated = false, biases = false;

  std::string width_key(const ConfigKeys& keys) const;
  int64_t shared_width(const ConfigKeys& keys, int64_t layer, int64_t mlp_dim) const;
};

// Returns a family that is not `known` for a model_type that is not in the table.
Family family_of(const std::string& model_type);

// Fills shape.router and what it leaves out and assumes. `hashed`: the layer's experts come from a table.
void read_router(const ConfigKeys& keys, const Family& family, ModelBlock& block, bool hashed);
void read_expert_form(const ConfigKeys& keys, const Family& family, ModelBlock& block);

}  // namespace moehill
