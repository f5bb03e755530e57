// Implementation of parallel/operands.h: storage of the weights, and how they are filled.
#include "moehill/parallel/operands.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/parallel/router_product.h"

namespace moehill {
namespace {

int64_t up_columns(const MlpStorage& s) { return s.gate_up() ? gate_up_columns(s.width) : s.width; }

// Weights have the deviation 1/sqrt(inputs), so that products of normal rows have a deviation near 1 for any
// number of inputs.
float deviation(int64_t fan_in) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in))); }

}  // namespace

WeightKey weight_key(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const WeightLayout layout =
      config.block.backend == Backend::gmm ? WeightLayout::panels : WeightLayout::row_major;
  return {shape.hidden,
          shape.mlp_dim,
          over_places(config).shape.experts,
          shape.shared_dim,
          shape.dtype,
          layout,
          has_fused_w13(config.block.impl),
          config.block.shared_fused,
          shape.form,
          config.placement,
          config.block.router_product ? shape.num_logits() : 0};
}

OwnedMlp make_mlp(const MlpStorage& s) {
  OwnedMlp mlp;
  mlp.view.fused = s.fused;
  mlp.view.activation = s.activation;
  if (s.width == 0) return mlp;
  mlp.up[0] = WeightStack(s.layout, s.num_groups, s.hidden, up_columns(s), s.dtype);
  if (s.activation.gated && !s.fused)
    mlp.up[1] = WeightStack(s.layout, s.num_groups, s.hidden, s.width, s.dtype);
  mlp.down = WeightStack(s.layout, s.num_groups, s.width, s.hidden, s.dtype);
  const auto vectors = [&](int64_t n) {
    return WeightStack(WeightLayout::row_major, s.num_groups, 1, vector_columns(n), DType::f32);
  };
  if (s.biases) {
    mlp.up_bias[0] = vectors(s.width);
    if (s.activation.gated) mlp.up_bias[1] = vectors(s.width);
    mlp.down_bias = vectors(s.hidden);
  }
  if (s.row_gate) mlp.row_gate = vectors(s.hidden);
  for (int i = 0; i < 2; ++i) mlp.view.up_bias[i] = mlp.up_bias[i].view();
  mlp.view.down_bias = mlp.down_bias.view();
  mlp.view.row_gate = mlp.row_gate.view();
  mlp.view.up[0] = mlp.up[0].view();
  mlp.view.up[1] = mlp.up[1].view();
  mlp.view.down = mlp.down.view();
  return mlp;
}

double mlp_bytes(const MlpStorage& s) {
  const WeightView up{nullptr, s.dtype, s.layout, s.num_groups, s.hidden, up_columns(s)};
  const WeightView down{nullptr, s.dtype, s.layout, s.num_groups, s.width, s.hidden};
  int64_t vectors = 0;
  if (s.biases) vectors += (s.activation.gated ? 2 : 1) * vector_columns(s.width) + vector_columns(s.hidden);
  if (s.row_gate) vectors += vector_columns(s.hidden);
  return static_cast<double>(up.bytes() * (s.fused || !s.activation.gated ? 1 : 2) + down.bytes()) +
         4 * static_cast<double>(s.num_groups * vectors);
}

// A set of weights is stored in one of two forms, with W1 and W3 in one matrix or apart. The logical matrices
// hide that.
void set_logical(const MlpWeights& mlp, int64_t width, LogicalWeights& w1, LogicalWeights& w3,
                 LogicalWeights& w2) {
  using Part = LogicalWeights::Part;
  const bool both = mlp.gate_up();
  w1 = {mlp.up[0], both ? Part::gate : Part::all, width};
  w3 = mlp.activation.gated ? LogicalWeights{mlp.up[both ? 0 : 1], both ? Part::up : Part::all, width}
                            : LogicalWeights{};
  w2 = {mlp.down, Part::all, mlp.down.n};
}

void set_vectors(const MlpWeights& experts, const MlpWeights& shared, BlockWeights& weights) {
  const auto all = [](const WeightView& stack, int64_t n) {
    return stack.data == nullptr ? LogicalWeights{} : LogicalWeights{stack, LogicalWeights::Part::all, n};
  };
  const int64_t width = experts.down.k, hidden = experts.down.n;
  weights.b1 = all(experts.up_bias[0], width);
  weights.b3 = all(experts.up_bias[1], width);
  weights.b2 = all(experts.down_bias, hidden);
  weights.sg = all(shared.row_gate, shared.down.n);  // `hidden` is the experts' width, which may be another
}

BlockWeights logical_weights(const MlpWeights& experts, const MlpWeights& shared, const MoeShape& shape,
                             const int32_t* place_of) {
  BlockWeights weights;
  set_logical(experts, shape.mlp_dim, weights.w1, weights.w3, weights.w2);
  weights.w1.place_of = weights.w2.place_of = weights.w3.place_of = place_of;
  if (shape.shared_dim > 0) set_logical(shared, shape.shared_dim, weights.s1, weights.s3, weights.s2);
  set_vectors(experts, shared, weights);
  weights.b1.place_of = weights.b2.place_of = weights.b3.place_of = place_of;
  return weights;
}

void set_latent(const LatentWeights& latent, int64_t width, BlockWeights& weights) {
  const auto all = [&](const WeightView& stack) {
    return stack.data == nullptr ? LogicalWeights{} : LogicalWeights{stack, LogicalWeights::Part::all, width};
  };
  weights.latent_down = all(latent.down);
  weights.latent_up = all(latent.up);
  weights.latent_norm = all(latent.norm);
}

void* before(const void* data, int64_t first, int64_t row_bytes) {
  if (data == nullptr) return nullptr;
  // Pointer arithmetic outside of the array is undefined, so it is done on integers. The result is only ever
  // used with rows that exist.
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) -
                                 static_cast<uintptr_t>(first * row_bytes));
}

OwnedLatent make_latent(const WeightKey& key) {
  OwnedLatent latent;
  const int64_t width = key.form.latent;
  if (width == 0) return latent;
  latent.down = WeightStack(WeightLayout::panels, 1, key.hidden, width, key.dtype);
  latent.up = WeightStack(WeightLayout::panels, 1, key.hidden, width, key.dtype);
  if (key.form.latent_norm > 0)
    latent.norm = WeightStack(WeightLayout::row_major, 1, 1, vector_columns(width), DType::f32);
  return latent;
}

double latent_weight_bytes(const WeightKey& key) {
  const int64_t width = key.form.latent;
  if (width == 0) return 0;
  const WeightView product{nullptr, key.dtype, WeightLayout::panels, 1, key.hidden, width};
  const int64_t norm = key.form.latent_norm > 0 ? 4 * vector_columns(width) : 0;
  return 2 * static_cast<double>(product.bytes()) + static_cast<double>(norm);
}

namespace {

void make_stacks(const WeightKey& key, Range held, OwnedMlp& experts, OwnedMlp& shared) {
  MlpStorage storage = key.expert_storage();
  storage.num_groups = held.size();
  experts = make_mlp(storage);
  shared = make_mlp(key.shared_storage());
}

}  // namespace

std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, Range held, bool with_gradients) {
  auto w = std::make_shared<WeightOperands>();
  w->key = key;
  w->held = held;
  make_stacks(key, held, w->experts, w->shared);
  w->latent = make_latent(key);
  if (key.router_logits > 0) w->router = router_stack(key.hidden, key.router_logits);
  if (with_gradients) add_gradients(*w);
  return w;
}

void add_gradients(WeightOperands& weights) {
  if (weights.has_gradients) return;
  make_stacks(weights.key, weights.held, weights.experts_grad, weights.shared_grad);
  weights.latent_grad = make_latent(weights.key);
  if (weights.key.router_logits > 0)
    weights.router_grad = router_stack(weights.key.hidden, weights.key.router_logits);
  weights.has_gradients = true;
}

ExpertWeights WeightOperands::views() const {
  const auto among_all = [this](MlpWeights mlp) {
    for (WeightView* view :
         {&mlp.up[0], &mlp.up[1], &mlp.down, &mlp.up_bias[0], &mlp.up_bias[1], &mlp.down_bias}) {
      const int64_t bytes = view->group_elements() * static_cast<int64_t>(dtype_bytes(view->dtype));
      view->data = before(view->data, held.begin, bytes);
      view->num_groups = key.experts;
    }
    return mlp;
  };
  return {among_all(experts.view), among_all(experts_grad.view), shared.view, shared_grad.view, latent.view(),
          latent_grad.view()};
}

// All weights come from the same seed, and each tensor has a stream of its own. So a weight does not depend
// on which others exist or on which process makes it.
void fill_shared(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team) {
  const WeightKey& key = weights.key;
  if (key.shared_dim == 0) return;
  LogicalWeights w1, w3, w2;
  set_logical(weights.shared.view, key.shared_dim, w1, w3, w2);
  BlockWeights vectors;
  set_vectors(weights.experts.view, weights.shared.view, vectors);
  if (origin.layer != nullptr)
    return origin.layer->fill_shared(team, {.w1 = w1, .w3 = w3, .w2 = w2, .row_gate = vectors.sg});
  fill_normal(team, origin.seed, Stream::kS1, deviation(key.hidden), w1, 0);
  fill_normal(team, origin.seed, Stream::kS3, deviation(key.hidden), w3, 0);
  fill_normal(team, origin.seed, Stream::kS2, deviation(key.shared_dim), w2, 0);
  if (key.form.shared_gate)
    fill_normal(team, origin.seed, Stream::kSharedGate, deviation(key.hidden), vectors.sg, 0);
}

void fill_latent(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team) {
  const WeightKey& key = weights.key;
  if (key.form.latent == 0) return;
  BlockWeights w;
  set_latent(weights.latent.view(), key.form.latent, w);
  if (origin.layer != nullptr)
    return origin.layer->fill_latent(team, {w.latent_down, w.latent_up, w.latent_norm});
  fill_normal(team, origin.seed, Stream::kLatentDown, deviation(key.hidden), w.latent_down, 0);
  fill_normal(team, origin.seed, Stream::kLatentUp, deviation(key.form.latent), w.latent_up, 0);
  if (key.form.latent_norm > 0) fill_normal(team, origin.seed, Stream::kLatentNorm, 1.0f, w.latent_norm, 0);
}

void fill_router(const WeightKey& key, const WeightView& router, WeightOrigin origin, ThreadTeam& team) {
  if (key.router_logits == 0) return;
  const LogicalWeights w{router, LogicalWeights::Part::all, key.router_logits};
  if (origin.layer == nullptr)
    return fill_normal(team, origin.seed, Stream::kRouterWeights, deviation(key.hidden), w, 0);
  const auto values = origin.layer->router();
  if (!values) {
    throw usage_error("--router product needs the router's weights, which --weights does not have",
                      "leave product out: logits then come from --distribution");
  }
  if (origin.layer->router_has_bias()) {
    throw usage_error("--router product cannot be used with --weights whose router adds a bias to its logits",
                      "leave product out: logits then come from --distribution");
  }
  for (int64_t l = 0; l < key.router_logits; ++l) {
    for (int64_t h = 0; h < key.hidden; ++h)
      w.set(0, h, l, (*values)[static_cast<size_t>(l * key.hidden + h)]);
  }
}

namespace {

// Fills these places with the weights of experts `first`, `first` + 1, ... in order.
void fill_places(WeightOperands& weights, Range places, int64_t first, WeightOrigin origin,
                 ThreadTeam& team) {
  const WeightKey& key = weights.key;
  const MlpWeights stacks =
      weights.experts.view.slice_groups(places.begin - weights.held.begin, places.end - weights.held.begin);
  LogicalWeights w1, w3, w2;
  set_logical(stacks, key.mlp_dim, w1, w3, w2);
  BlockWeights v;
  set_vectors(stacks, weights.shared.view, v);
  if (origin.layer != nullptr) {
    return origin.layer->fill_experts(team, {first, first + places.size()},
                                      {.w1 = w1, .w3 = w3, .w2 = w2, .b1 = v.b1, .b3 = v.b3, .b2 = v.b2});
  }
  fill_normal(team, origin.seed, Stream::kW1, deviation(key.expert_hidden()), w1, first);
  fill_normal(team, origin.seed, Stream::kW3, deviation(key.expert_hidden()), w3, first);
  fill_normal(team, origin.seed, Stream::kW2, deviation(key.mlp_dim), w2, first);
  if (!key.form.biases) return;
  fill_normal(team, origin.seed, Stream::kB1, kBiasDeviation, v.b1, first);
  if (key.form.activation.gated) fill_normal(team, origin.seed, Stream::kB3, kBiasDeviation, v.b3, first);
  fill_normal(team, origin.seed, Stream::kB2, kBiasDeviation, v.b2, first);
}

}  // namespace

void fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team) {
  if (contains(weights.filled, experts)) return;
  weights.filled = hull(weights.filled, experts);
  const std::vector<int32_t>& placement = weights.key.placement;
  // With a placement, neighbouring places may hold any experts, so each is filled by itself.
  if (placement.empty()) return fill_places(weights, weights.filled, weights.filled.begin, origin, team);
  for (int64_t p = weights.filled.begin; p < weights.filled.end; ++p)
    fill_places(weights, {p, p + 1}, placement[static_cast<size_t>(p)], origin, team);
}

namespace {

// A device without tokens still gets one row, which is never read, because a tensor without memory would mean
// that the tensor does not exist.
Matrix make_rows(const TokenOperands& tokens) {
  return Matrix::tight(std::max<int64_t>(1, tokens.held.size()), tokens.hidden, tokens.dtype);
}

}  // namespace

std::shared_ptr<TokenOperands> make_tokens(const MoeShape& shape, Range held) {
  auto tokens = std::make_shared<TokenOperands>();
  tokens->tokens = shape.tokens;
  tokens->hidden = shape.hidden;
  tokens->dtype = shape.dtype;
  tokens->held = held;
  for (Matrix* m : {&tokens->x, &tokens->y}) *m = make_rows(*tokens);
  return tokens;
}

void add_gradients(TokenOperands& tokens) {
  if (tokens.dx.view().rows == 0) tokens.dx = make_rows(tokens);
}

MatView TokenOperands::among_all(const Matrix& rows) const {
  MatView all = rows.view();
  all.data = before(all.data, held.begin, hidden * static_cast<int64_t>(dtype_bytes(dtype)));
  all.rows = tokens;
  return all;
}

void fill_tokens(TokenOperands& tokens, Range rows, uint32_t seed, ThreadTeam& team) {
  if (contains(tokens.filled, rows)) return;
  tokens.filled = hull(tokens.filled, rows);
  const Range filled = tokens.filled;
  fill_normal(team, seed, Stream::kX, 1.0f, tokens.among_all(tokens.x).slice_rows(filled.begin, filled.end),
              filled.begin);
}

}  // namespace moehill
