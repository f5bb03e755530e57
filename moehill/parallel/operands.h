// Operands: weights and gradients as a block reads and writes them, and what the harness makes of a seed or
// of a model's files: x and weights, shared by the points that agree on them.
#pragma once

#include <memory>

#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"
#include "moehill/moe/tensors.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

// num_groups matrices [hidden, width], of W3 and W1 or of one of them alone, and [width, hidden]; width 0
// gives an empty set.
struct MlpStorage {
  WeightLayout layout;
  int64_t num_groups, hidden, width;
  DType dtype;
  bool fused;
  Activation activation{};
  bool biases = false, row_gate = false;

  bool gate_up() const { return fused && activation.gated; }  // W1 and W3 are one matrix
};

// The form in which weights are stored; runs that agree in it share them. Experts are places here.
struct WeightKey {
  int64_t hidden, mlp_dim;
  int experts;
  int64_t shared_dim;
  DType dtype;
  WeightLayout layout;
  bool fused, shared_fused;
  ExpertForm form{};
  std::vector<int32_t> placement{};  // [experts] whose weights each has; empty: its own
  int64_t router_logits = 0;         // L of the router's weights W_g; 0: none

  int64_t expert_hidden() const { return form.latent > 0 ? form.latent : hidden; }
  MlpStorage expert_storage() const {
    return {layout, experts, expert_hidden(), mlp_dim, dtype, fused, form.activation, form.biases};
  }
  MlpStorage shared_storage() const {
    return {layout, 1, hidden, shared_dim, dtype, shared_fused, form.activation, false, form.shared_gate};
  }
  bool operator==(const WeightKey&) const = default;
};
WeightKey weight_key(const RunConfig& config);

// One set of MLP weights and their owner.
struct OwnedMlp {
  WeightStack up[2], down, up_bias[2], down_bias, row_gate;
  MlpWeights view;
};
OwnedMlp make_mlp(const MlpStorage& storage);
double mlp_bytes(const MlpStorage& storage);

// The weights around experts of another width than the model's.
struct OwnedLatent {
  WeightStack down, up, norm;
  LatentWeights view() const { return {down, up, norm}; }
};
OwnedLatent make_latent(const WeightKey& key);  // empty where experts are of the model's width
double latent_weight_bytes(const WeightKey& key);

// The weights and gradients of the experts `held`, of what is around them, of the shared one and of the
// router.
struct WeightOperands {
  WeightKey key;
  Range held;
  OwnedMlp experts, experts_grad, shared, shared_grad;
  OwnedLatent latent, latent_grad;
  WeightStack router, router_grad;  // [1][H, L] f32, in panels
  Range filled{};
  bool has_gradients = false;

  // These are stacks of all experts, of which there is memory for those held.
  ExpertWeights views() const;
};

// Tensors of the tokens `held`; rows are tight, since they move between devices as one block.
struct TokenOperands {
  int64_t tokens, hidden;
  DType dtype;
  Range held;
  Matrix x, y, dx;  // dx where there is a backward pass
  Range filled{};   // rows of x
  bool negated = false;

  // One of them as a matrix of all tokens, of which there is memory for those held.
  MatView among_all(const Matrix& rows) const;
};

// Logical matrices of a set of weights.
void set_logical(const MlpWeights& mlp, int64_t width, LogicalWeights& w1, LogicalWeights& w3,
                 LogicalWeights& w2);
// place_of: [E] as in LogicalWeights.
BlockWeights logical_weights(const MlpWeights& experts, const MlpWeights& shared, const MoeShape& shape,
                             const int32_t* place_of = nullptr);

void set_latent(const LatentWeights& latent, int64_t width, BlockWeights& weights);

// The content of the weights: random numbers, or the layer of a model.
struct WeightOrigin {
  WeightOrigin(uint32_t from_seed, LayerWeights* from_layer = nullptr) : seed(from_seed), layer(from_layer) {}
  uint32_t seed;
  LayerWeights* layer;
};

// Zeros everywhere.
std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, Range held, bool with_gradients);
void add_gradients(WeightOperands& weights);
// Where row 0 would be if `first` rows of so many bytes lay before `data`. Nobody may read them.
void* before(const void* data, int64_t first, int64_t row_bytes);
std::shared_ptr<TokenOperands> make_tokens(const MoeShape& shape, Range held);
void add_gradients(TokenOperands& tokens);
void fill_shared(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team);
void fill_latent(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team);
// W_g, if there is one: normal, so that logits of normal tokens have deviation 1, or the model's. Throws
// InputError for a model without it.
void fill_router(const WeightKey& key, const WeightView& router, WeightOrigin origin, ThreadTeam& team);
// Ranges are of all experts and of all tokens, and held. Rows between two filled ranges are filled, too.
void fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team);
void fill_tokens(TokenOperands& tokens, Range rows, uint32_t seed, ThreadTeam& team);

}  // namespace moehill
