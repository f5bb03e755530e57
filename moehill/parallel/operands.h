// Operands: x, routing, weights and gradients, made once from a seed or a model's files and shared by the
// runs that agree on them.
#pragma once

#include <memory>

#include "moehill/moe/block.h"
#include "moehill/moe/tensors.h"
#include "moehill/parallel/run.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

// The form in which weights are stored; runs that agree in it share them.
struct WeightKey {
  int64_t hidden, mlp_dim;
  int experts;
  int64_t shared_dim;
  DType dtype;
  WeightLayout layout;
  bool fused, shared_fused;
  bool operator==(const WeightKey&) const = default;
};
WeightKey weight_key(const RunConfig& config);

// One set of MLP weights and their owner.
struct OwnedMlp {
  WeightStack up[2], down;
  MlpWeights view;
};
// num_groups matrices [hidden, width] and [width, hidden]; width 0 gives an empty set.
OwnedMlp make_mlp(WeightLayout layout, int64_t num_groups, int64_t hidden, int64_t width, DType dtype,
                  bool fused);
double mlp_bytes(WeightLayout layout, int64_t num_groups, int64_t hidden, int64_t width, DType dtype,
                 bool fused);

// Memory for all experts, of which those outside `filled` are untouched pages: a process that has one device
// fills that one's.
struct WeightOperands {
  WeightKey key;
  OwnedMlp experts, experts_grad, shared, shared_grad;
  Range filled{};

  ExpertWeights views() const { return {experts.view, experts_grad.view, shared.view, shared_grad.view}; }
};

// Tensors of the tokens; rows are tight, since they move between devices as one block.
struct TokenOperands {
  int64_t tokens, hidden;
  DType dtype;
  Matrix x, y, dx;
  Range filled{};  // rows of x
};

// Logical matrices of a set of weights.
void set_logical(const MlpWeights& mlp, int64_t width, LogicalWeights& w1, LogicalWeights& w3,
                 LogicalWeights& w2);
BlockWeights logical_weights(const MlpWeights& experts, const MlpWeights& shared, const MoeShape& shape);

// The content of the weights: random numbers, or the layer of a model.
struct WeightOrigin {
  WeightOrigin(uint32_t from_seed, LayerWeights* from_layer = nullptr) : seed(from_seed), layer(from_layer) {}
  uint32_t seed;
  LayerWeights* layer;
};

// The shared expert is filled, the others are not yet.
std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, WeightOrigin origin, ThreadTeam& team);
std::shared_ptr<TokenOperands> make_tokens(const MoeShape& shape);
// Rows between two filled ranges are filled, too.
void fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team);
void fill_tokens(TokenOperands& tokens, Range rows, uint32_t seed, ThreadTeam& team);

}  // namespace moehill
