// Implements router_product.h: the router's logits x W_g and their gradients as products in f32, and the sum
// of dW_g over the devices.
#include "moehill/parallel/router_product.h"

#include <algorithm>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

GemmLimits limits_of(const RouterProductSizes& sizes) {
  GemmLimits limits;
  limits.max_rows = std::max<int64_t>(1, sizes.tokens);
  // W_g is stored in whole panels, so its columns are rounded up.
  const int64_t logits = round_up(sizes.logits, kPanelWidth);
  limits.max_depth = std::max(sizes.hidden, logits);
  limits.max_matrix = sizes.hidden * logits;
  limits.num_threads = sizes.num_threads;
  return limits;
}

MatView tight_rows(const float* data, int64_t rows, int64_t cols) {
  return {const_cast<float*>(data), DType::f32, rows, cols, cols};
}

}  // namespace

WeightStack router_stack(int64_t hidden, int64_t logits) {
  return {WeightLayout::panels, 1, hidden, logits, DType::f32};
}

double router_weight_bytes(int64_t hidden, int64_t logits) {
  return static_cast<double>(
      WeightView{nullptr, DType::f32, WeightLayout::panels, 1, hidden, logits}.bytes());
}

RouterProduct::RouterProduct(const RouterProductSizes& sizes)
    : gemm_(make_gmm(limits_of(sizes))),
      logits_(sizes.tokens, sizes.logits, DType::f32),
      rows_(Matrix::tight(sizes.tokens, sizes.hidden, DType::f32)) {}

// The product is in f32. Rows of bf16 are widened first, which is exact.
RowSource RouterProduct::widened(ThreadTeam& team, const MatView& x) {
  if (x.dtype == DType::f32) return {x};
  const MatView rows = rows_.view().slice_rows(0, x.rows);
  team.parallel_for(x.rows, [&](int64_t begin, int64_t end) {
    widen_rows(x.slice_rows(begin, end), {0, x.cols}, 1, rows.row<float>(begin));
  });
  return {rows};
}

void RouterProduct::forward(ThreadTeam& team, const MatView& x, const WeightView& w, float* z) {
  offset_[1] = x.rows;
  const MatView made = logits_.view().slice_rows(0, x.rows);
  gemm_->forward(team, offset_, widened(team, x), w, {.c = made});
  // Rows of the product are padded to cache lines; callers get them without gaps.
  gather_rows(team, {made}, tight_rows(z, x.rows, made.cols));
}

void RouterProduct::backward(ThreadTeam& team, const MatView& x, const WeightView& w, const float* dz,
                             const WeightView& dw, const MatView& dx) {
  offset_[1] = x.rows;
  const MatView gradient = logits_.view().slice_rows(0, x.rows);
  gather_rows(team, {tight_rows(dz, x.rows, gradient.cols)}, gradient);
  gemm_->weight_grad(team, offset_, widened(team, x), {gradient}, dw);
  // The widened x is no longer needed, so its memory takes the gradient of x.
  const MatView part = rows_.view().slice_rows(0, x.rows);
  gemm_->input_grad(team, offset_, {gradient}, w, {part});
  add_rows(team, part, dx);
}

void RouterProduct::spoil(const MemoryVisitor& visit) {
  visit_matrix(logits_.view(), visit);
  visit_matrix(rows_.view(), visit);
  gemm_->visit_work_space(visit);
}

double RouterProduct::bytes(const RouterProductSizes& sizes) {
  return static_cast<double>(gmm_workspace_bytes(limits_of(sizes)) +
                             Matrix::bytes_for(sizes.tokens, sizes.logits, DType::f32) +
                             Matrix::bytes_for(sizes.tokens, sizes.hidden, DType::f32));
}

RouterProducts::RouterProducts(const RunConfig& config, Range local, const WeightOperands& weights)
    : weights_(weights), first_(local.begin) {
  const MoeShape& shape = config.shape;
  const bool alone = config.num_devices == 1 || config.block.pass == Pass::forward;
  for (int64_t rank = local.begin; rank < local.end; ++rank) {
    products_.emplace_back(RouterProductSizes{result_tokens(config, static_cast<int>(rank)).size(),
                                              shape.hidden, shape.num_logits(), config.threads_per_device});
    if (!alone) parts_.push_back(router_stack(shape.hidden, shape.num_logits()));
  }
  const int64_t elements = weights.router.view().group_elements();
  for (int r = 0; r <= config.num_devices; ++r) offsets_.push_back(elements * r / config.num_devices);
}

void RouterProducts::forward(Group& group, const MatView& x, float* z) {
  of(group.rank()).forward(group.team(), x, weights_.router, z);
}

void RouterProducts::backward(Group& group, const MatView& x, const float* dz, const MatView& dx) {
  const WeightView& sum = weights_.router_grad;
  const WeightView part = parts_.empty() ? sum : parts_[static_cast<size_t>(group.rank() - first_)].view();
  of(group.rank()).backward(group.team(), x, weights_.router, dz, part, dx);
  if (parts_.empty()) return;
  float* const own = static_cast<float*>(sum.data) + offsets_[static_cast<size_t>(group.rank())];
  group.reduce_scatter(part.data, DType::f32, offsets_, own, DType::f32);
}

}  // namespace moehill
