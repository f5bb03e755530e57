#include "moehill/parallel/operands.h"

#include <algorithm>
#include <cmath>

#include "moehill/kernels/random_fill.h"

namespace moehill {
namespace {

int64_t up_columns(int64_t width, bool fused) { return fused ? gate_up_columns(width) : width; }

float deviation(int64_t fan_in) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in))); }

bool holds(Range filled, Range wanted) {
  return wanted.size() == 0 || (filled.begin <= wanted.begin && wanted.end <= filled.end);
}

Range hull(Range filled, Range wanted) {
  if (filled.size() == 0) return wanted;
  return {std::min(filled.begin, wanted.begin), std::max(filled.end, wanted.end)};
}

}  // namespace

WeightKey weight_key(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const WeightLayout layout =
      config.block.backend == Backend::gmm ? WeightLayout::panels : WeightLayout::row_major;
  return {shape.hidden,
          shape.mlp_dim,
          shape.experts,
          shape.shared_dim,
          shape.dtype,
          layout,
          has_fused_w13(config.block.impl),
          config.block.shared_fused};
}

OwnedMlp make_mlp(WeightLayout layout, int64_t num_groups, int64_t hidden, int64_t width, DType dtype,
                  bool fused) {
  OwnedMlp mlp;
  mlp.view.fused = fused;
  if (width == 0) return mlp;
  mlp.up[0] = WeightStack(layout, num_groups, hidden, up_columns(width, fused), dtype);
  if (!fused) mlp.up[1] = WeightStack(layout, num_groups, hidden, width, dtype);
  mlp.down = WeightStack(layout, num_groups, width, hidden, dtype);
  mlp.view.up[0] = mlp.up[0].view();
  mlp.view.up[1] = mlp.up[1].view();
  mlp.view.down = mlp.down.view();
  return mlp;
}

double mlp_bytes(WeightLayout layout, int64_t num_groups, int64_t hidden, int64_t width, DType dtype,
                 bool fused) {
  const WeightView up{nullptr, dtype, layout, num_groups, hidden, up_columns(width, fused)};
  const WeightView down{nullptr, dtype, layout, num_groups, width, hidden};
  return static_cast<double>(up.bytes() * (fused ? 1 : 2) + down.bytes());
}

void set_logical(const MlpWeights& mlp, int64_t width, LogicalWeights& w1, LogicalWeights& w3,
                 LogicalWeights& w2) {
  using Part = LogicalWeights::Part;
  w1 = {mlp.up[0], mlp.fused ? Part::gate : Part::all, width};
  w3 = {mlp.fused ? mlp.up[0] : mlp.up[1], mlp.fused ? Part::up : Part::all, width};
  w2 = {mlp.down, Part::all, mlp.down.n};
}

BlockWeights logical_weights(const MlpWeights& experts, const MlpWeights& shared, const MoeShape& shape) {
  BlockWeights weights;
  set_logical(experts, shape.mlp_dim, weights.w1, weights.w3, weights.w2);
  if (shape.shared_dim > 0) set_logical(shared, shape.shared_dim, weights.s1, weights.s3, weights.s2);
  return weights;
}

void* before(const void* data, int64_t first, int64_t row_bytes) {
  if (data == nullptr) return nullptr;
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) -
                                 static_cast<uintptr_t>(first * row_bytes));
}

std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, Range held, bool with_gradients) {
  auto w = std::make_shared<WeightOperands>();
  w->key = key;
  w->held = held;
  const auto make = [&](OwnedMlp& experts, OwnedMlp& shared) {
    experts = make_mlp(key.layout, held.size(), key.hidden, key.mlp_dim, key.dtype, key.fused);
    shared = make_mlp(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
  };
  make(w->experts, w->shared);
  if (with_gradients) make(w->experts_grad, w->shared_grad);
  return w;
}

ExpertWeights WeightOperands::views() const {
  const auto among_all = [this](MlpWeights mlp) {
    for (WeightView* view : {&mlp.up[0], &mlp.up[1], &mlp.down}) {
      const int64_t bytes = view->group_elements() * static_cast<int64_t>(dtype_bytes(view->dtype));
      view->data = before(view->data, held.begin, bytes);
      view->num_groups = key.experts;
    }
    return mlp;
  };
  return {among_all(experts.view), among_all(experts_grad.view), shared.view, shared_grad.view};
}

void fill_shared(const WeightOperands& weights, WeightOrigin origin, ThreadTeam& team) {
  const WeightKey& key = weights.key;
  if (key.shared_dim == 0) return;
  LogicalWeights w1, w3, w2;
  set_logical(weights.shared.view, key.shared_dim, w1, w3, w2);
  if (origin.layer != nullptr) return origin.layer->fill_shared(team, {w1, w3, w2});
  fill_normal(team, origin.seed, Stream::kS1, deviation(key.hidden), w1, 0);
  fill_normal(team, origin.seed, Stream::kS3, deviation(key.hidden), w3, 0);
  fill_normal(team, origin.seed, Stream::kS2, deviation(key.shared_dim), w2, 0);
}

void fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team) {
  if (holds(weights.filled, experts)) return;
  weights.filled = hull(weights.filled, experts);
  const WeightKey& key = weights.key;
  const int64_t first = weights.filled.begin;
  LogicalWeights w1, w3, w2;
  set_logical(weights.experts.view.slice_groups(first, weights.filled.end), key.mlp_dim, w1, w3, w2);
  if (origin.layer != nullptr) return origin.layer->fill_experts(team, weights.filled, {w1, w3, w2});
  fill_normal(team, origin.seed, Stream::kW1, deviation(key.hidden), w1, first);
  fill_normal(team, origin.seed, Stream::kW3, deviation(key.hidden), w3, first);
  fill_normal(team, origin.seed, Stream::kW2, deviation(key.mlp_dim), w2, first);
}

std::shared_ptr<TokenOperands> make_tokens(const MoeShape& shape) {
  auto tokens = std::make_shared<TokenOperands>();
  tokens->tokens = shape.tokens;
  tokens->hidden = shape.hidden;
  tokens->dtype = shape.dtype;
  for (Matrix* m : {&tokens->x, &tokens->y, &tokens->dx})
    *m = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
  return tokens;
}

void fill_tokens(TokenOperands& tokens, Range rows, uint32_t seed, ThreadTeam& team) {
  if (holds(tokens.filled, rows)) return;
  tokens.filled = hull(tokens.filled, rows);
  const Range filled = tokens.filled;
  fill_normal(team, seed, Stream::kX, 1.0f, tokens.x.view().slice_rows(filled.begin, filled.end),
              filled.begin);
}

}  // namespace moehill
