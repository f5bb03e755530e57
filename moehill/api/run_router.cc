// Implementation of api/run_router.h.
#include "moehill/api/run_router.h"

#include <algorithm>

#include "moehill/moe/mlp.h"
#include "moehill/parallel/result_parts.h"

namespace moehill {

RunRouter::RunRouter(const RunConfig& config, const Routed& routed, Range tokens, Range local,
                     const WeightOperands* weights)
    : config_(config), routed_(routed), tokens_(tokens), local_(local) {
  const MoeShape& shape = config.shape;
  const bool product = config.block.router_product;
  if (config.block.router_grad || (product && config.block.pass == Pass::forward_backward)) {
    // There is at least one element, because a tensor without memory would mean that nobody wants it.
    dlogits_.resize(static_cast<size_t>(std::max<int64_t>(1, tokens.size() * shape.num_logits())));
  }
  if (config.block.route_in_step)
    step_ = std::make_unique<StepRouter>(*routed.router, routed.all_logits(), *routed.routing, product);
  if (product && weights != nullptr) products_.emplace(config, local, *weights);
  counts_.resize(static_cast<size_t>(local.size()));
  const int64_t num_counts = num_windows(config.block.balance_loss, shape.tokens) * shape.experts;
  for (std::vector<float>& counts : counts_) counts.resize(static_cast<size_t>(num_counts));
}

void RunRouter::route(Group& group, const MatView& x) {
  const Range tokens = result_tokens(config_, group.rank());
  if (products_)
    products_->forward(group, x.slice_rows(tokens.begin, tokens.end), step_->own_logits(tokens.begin));
  step_->route(tokens, group.team());
}

// Each device makes the router's gradient for its own tokens. It has tokens x experts elements and costs
// next to nothing.
void RunRouter::backward(Group& group, ParallelPath& path, const MatView& x, const float* dp,
                         StageListener* listener) {
  if (dlogits_.empty() || (group.rank() > 0 && !shards_tokens(config_))) return;
  enter(listener, Stage::router_grad);
  static const Router contract;
  const Range tokens = result_tokens(config_, group.rank());
  route_backward(routed_.router ? *routed_.router : contract, {logits(), routing(), dp, dlogits()}, tokens,
                 group.team());
  if (!config_.block.balance_loss.empty()) add_loss(group, path);
  if (!products_) return;
  products_->backward(group, x.slice_rows(tokens.begin, tokens.end),
                      dlogits() + tokens.begin * config_.shape.num_logits(), path.dx());
  path.count_sent(group, Move::gradients);
}

// Each device counts the choices of its own tokens, and the counts are summed. They are integers, so the sums
// are exact in f32.
void RunRouter::add_loss(Group& group, ParallelPath& path) {
  const BalanceLoss& loss = config_.block.balance_loss;
  const Range tokens = result_tokens(config_, group.rank());
  std::vector<float>& counts = counts_[static_cast<size_t>(group.rank() - local_.begin)];
  count_choices(loss, routing(), tokens, counts.data());
  if (shards_tokens(config_)) {
    group.all_reduce(counts.data(), DType::f32, counts.data(), DType::f32, std::ssize(counts));
    path.count_sent(group, Move::metadata);
  }
  add_balance_gradient({loss, logits(), routing(), counts.data(), dlogits()}, tokens, group.team());
}

void RunRouter::poison(int rank, const MemoryVisitor& fill) {
  if (step_) step_->poison(result_tokens(config_, rank));
  if (products_) products_->spoil(rank, fill);
}

void RunRouter::visit_made(int rank, const MemoryVisitor& visit) {
  if (step_) step_->visit_made(result_tokens(config_, rank), visit);
}

void RunRouter::read_logits() {
  if (step_) step_->read(routed_.all_logits());
}

float* RunRouter::dlogits() const {
  if (dlogits_.empty()) return nullptr;
  const int64_t row_bytes = config_.shape.num_logits() * static_cast<int64_t>(sizeof(float));
  return static_cast<float*>(before(dlogits_.data(), tokens_.begin, row_bytes));
}

}  // namespace moehill
