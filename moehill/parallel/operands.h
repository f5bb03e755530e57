// Operands are the weights and tensors that a block reads and writes. Their values come from a seed, as
// random numbers, or from a model's files. Points with the same operands share them. This header only
// allocates and fills them; moe/block.h computes with them.
//
//     auto weights = make_weights(weight_key(config), {0, config.shape.experts}, /*with_gradients=*/true);
//     fill_experts(*weights, {0, config.shape.experts}, WeightOrigin(seed), team);
//     auto tokens = make_tokens(config.shape, {0, config.shape.tokens});
//     fill_tokens(*tokens, {0, config.shape.tokens}, seed, team);
//     inputs.weights = weights->views(), inputs.x = tokens->among_all(tokens->x);
#pragma once

#include <memory>

#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"
#include "moehill/moe/tensors.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

// MlpStorage says how the matrices of some experts are stored: num_groups matrices [hidden, width] for W1 and
// W3, in one matrix or apart, and num_groups matrices [width, hidden] for W2. Width 0 gives an empty set.
struct MlpStorage {
  WeightLayout layout;
  int64_t num_groups, hidden, width;
  DType dtype;
  bool fused;
  Activation activation{};
  bool biases = false, row_gate = false;

  bool gate_up() const { return fused && activation.gated; }  // W1 and W3 are one matrix
};

// WeightKey is the form in which weights are stored. Runs whose keys are equal share their weights. `experts`
// counts places here (routing/placement.h); a place has one expert or a copy of one.
struct WeightKey {
  int64_t hidden, mlp_dim;
  int experts;
  int64_t shared_dim;
  DType dtype;
  WeightLayout layout;
  bool fused, shared_fused;
  ExpertForm form{};
  // [experts] The expert whose weights each place has; empty: place e has expert e.
  std::vector<int32_t> placement{};
  int64_t router_logits = 0;  // L, the columns of the router's weights W_g; 0: there are none

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

// OwnedMlp is one set of MLP weights together with its memory.
struct OwnedMlp {
  WeightStack up[2], down, up_bias[2], down_bias, row_gate;
  MlpWeights view;
};
OwnedMlp make_mlp(const MlpStorage& storage);
double mlp_bytes(const MlpStorage& storage);

// OwnedLatent has the weights around experts whose width is not the model's, together with their memory.
struct OwnedLatent {
  WeightStack down, up, norm;
  LatentWeights view() const { return {down, up, norm}; }
};
OwnedLatent make_latent(const WeightKey& key);  // empty if experts have the model's width
double latent_weight_bytes(const WeightKey& key);

// WeightOperands are the weights and gradients of the experts `held`, of the shared expert, of the
// projections around latent experts, and of the router.
struct WeightOperands {
  WeightKey key;
  Range held;
  OwnedMlp experts, experts_grad, shared, shared_grad;
  OwnedLatent latent, latent_grad;
  WeightStack router, router_grad;  // [1][H, L] f32, in panels
  Range filled{};
  bool has_gradients = false;

  // Returns stacks as if all experts were here; only the experts in `held` have memory.
  ExpertWeights views() const;
};

// TokenOperands are the tensors of the tokens `held`. Rows have no gaps between them, because they move
// between devices as one block.
struct TokenOperands {
  int64_t tokens, hidden;
  DType dtype;
  Range held;
  Matrix x, y, dx;  // dx only for a backward pass
  Range filled{};   // the rows of x that have values

  // Returns one of the matrices as if it had the rows of all tokens; only the tokens in `held` have memory.
  MatView among_all(const Matrix& rows) const;
};

// Sets w1, w3 and w2 to the logical matrices of a set of weights.
void set_logical(const MlpWeights& mlp, int64_t width, LogicalWeights& w1, LogicalWeights& w3,
                 LogicalWeights& w2);
// `place_of` is [E], as in LogicalWeights.
BlockWeights logical_weights(const MlpWeights& experts, const MlpWeights& shared, const MoeShape& shape,
                             const int32_t* place_of = nullptr);

// Sets the vectors: biases of the experts and the shared expert's gate.
void set_vectors(const MlpWeights& experts, const MlpWeights& shared, BlockWeights& weights);
void set_latent(const LatentWeights& latent, int64_t width, BlockWeights& weights);

// This is the standard deviation of random biases. It is so large that a missing bias shows in the check.
inline constexpr float kBiasDeviation = 0.5f;

// WeightOrigin says where the values of weights come from: a seed for random numbers, or a layer of a model.
struct WeightOrigin {
  WeightOrigin(uint32_t from_seed, LayerWeights* from_layer = nullptr) : seed(from_seed), layer(from_layer) {}
  uint32_t seed;
  LayerWeights* layer;
};

// Allocates weights that are all zero.
std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, Range held, bool with_gradients);
void add_gradients(WeightOperands& weights);
// Returns where row 0 would be if `first` rows of this size lay before `data`. With it a process can number
// its rows as if it had all of them. The rows before `data` do not exist and must not be read.
void* before(const void* data, int64_t first, int64_t row_bytes);
std::shared_ptr<TokenOperands> make_tokens(const MoeShape& shape, Range held);
void add_gradients(TokenOperands& tokens);
void fill_shared(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team);
void fill_latent(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team);
// Fills W_g if there is one. Random weights are such that the logits of normal tokens have deviation 1.
// Throws InputError if the model has no W_g or adds a bias.
void fill_router(const WeightKey& key, const WeightView& router, WeightOrigin origin, ThreadTeam& team);
// Both ranges count over all experts or tokens, and must lie in `held`. If there are rows between this range
// and the range that is filled already, they are filled too.
void fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team);
void fill_tokens(TokenOperands& tokens, Range rows, uint32_t seed, ThreadTeam& team);

}  // namespace moehill
