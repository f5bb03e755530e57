// A run's configuration in the words of the model.
#include "moehill/parallel/work_problem.h"

#include <string>

#include "moehill/parallel/route_waves.h"

namespace moehill {

Spread spread_of(const RunConfig& config) {
  if (config.mode == ParallelMode::none) return Spread::none;
  if (config.mode == ParallelMode::dp) return Spread::dp;
  for (int i = 0; i < kNumSpreads; ++i) {  // the model's names are the paths'
    const Spread spread = static_cast<Spread>(i);
    if (std::string(name_of(spread)) == name_of(config.path)) return spread;
  }
  MOEHILL_CHECK(false, "the model does not know the path {}", name_of(config.path));
}

WorkProblem work_problem(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const BlockOptions& block = config.block;
  WorkProblem problem;
  problem.hidden = shape.hidden;
  problem.mlp_dim = shape.mlp_dim;
  problem.shared_dim = shape.shared_dim;
  problem.dtype = shape.dtype;
  problem.spread = spread_of(config);
  problem.backward = block.pass == Pass::forward_backward;
  problem.fused_w13 = has_fused_w13(block.impl);
  problem.shared_fused = block.shared_fused;
  problem.preweight = has_preweight(block.impl);
  problem.scatter = has_scatter(block.impl);
  problem.recompute = block.remat == Remat::expert_mlp;
  problem.dx_over_outputs = block.remat == Remat::combine;
  problem.prequeue = block.prequeue;
  problem.router_grad = block.router_grad;
  problem.packs_rows = block.backend == Backend::ragged_dot;
  if (problem.spread == Spread::fused)
    problem.num_waves = config.num_waves > 0 ? config.num_waves : default_waves(config);
  const bool psum = problem.spread == Spread::compact_psum || problem.spread == Spread::dense_masked;
  problem.shared_replicated = psum && config.shared_placement == SharedPlacement::replicated;
  return problem;
}

}  // namespace moehill
