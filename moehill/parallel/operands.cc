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

std::shared_ptr<WeightOperands> make_weights(const WeightKey& key, WeightOrigin origin, ThreadTeam& team) {
  auto w = std::make_shared<WeightOperands>();
  w->key = key;
  w->experts = make_mlp(key.layout, key.experts, key.hidden, key.mlp_dim, key.dtype, key.fused);
  w->experts_grad = make_mlp(key.layout, key.experts, key.hidden, key.mlp_dim, key.dtype, key.fused);
  w->shared = make_mlp(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
  w->shared_grad = make_mlp(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
  if (key.shared_dim == 0) return w;
  LogicalWeights w1, w3, w2;
  set_logical(w->shared.view, key.shared_dim, w1, w3, w2);
  if (origin.layer != nullptr) {
    origin.layer->fill_shared(team, {w1, w3, w2});
    return w;
  }
  fill_normal(team, origin.seed, Stream::kS1, deviation(key.hidden), w1, 0);
  fill_normal(team, origin.seed, Stream::kS3, deviation(key.hidden), w3, 0);
  fill_normal(team, origin.seed, Stream::kS2, deviation(key.shared_dim), w2, 0);
  return w;
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
