// BlockOptions say how one run computes the block. Each choice is a small enum that is passed down by value.
// They do not say what is computed; the shape does (block/shape.h).
//
//   BlockOptions options;
//   options.impl = Impl::fast;
//   options.pass = Pass::forward;
#pragma once

#include <string>

#include "moehill/block/ablation.h"
#include "moehill/block/shape.h"
#include "moehill/kernels/block_sizes.h"
#include "moehill/routing/balance_loss.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Backend is the code that multiplies. gmm: this library's grouped GEMM. ragged_dot: CBLAS, one call for each
// expert.
enum class Backend { gmm, ragged_dot };
constexpr auto words(Backend) { return std::array{"gmm", "ragged_dot"}; }

// Impl is one of several ways to compute the same block. fused_w13 puts the activation into the product with
// W1 and W3. preweight multiplies by gate values before the product with W2. scatter adds rows to their
// tokens instead of gathering them. fast is fused_w13 with scatter.
enum class Impl { baseline, fused_w13, preweight, fused_w13_preweight, scatter, fast };
constexpr auto words(Impl) {
  return std::array{"baseline", "fused_w13", "preweight", "fused_w13_preweight", "scatter", "fast"};
}

// Remat says what forward keeps for backward. none: the gate and up products and the experts' outputs.
// combine: all but the outputs, so that rows of dx can lie in their memory. expert_mlp: the outputs; backward
// computes the gate and up products again.
enum class Remat { none, expert_mlp, combine };
constexpr auto words(Remat) { return std::array{"none", "expert_mlp", "combine"}; }

// QueueMode says when the plan is made. full: in the step. prequeue: before the clock starts.
enum class QueueMode { full, prequeue };
constexpr auto words(QueueMode) { return std::array{"full", "prequeue"}; }

// Tuned says whether block sizes come from a table of tuned sizes. off: the table was not read. hit: the
// table had sizes, and they are used. miss: it had none. stale: its sizes are for other kernels, another SIMD
// target or another CPU, so they are not used.
enum class Tuned { off, hit, miss, stale };
constexpr auto words(Tuned) { return std::array{"off", "hit", "miss", "stale"}; }

// These functions return the three properties of which an impl is a combination.
inline bool has_fused_w13(Impl impl) {
  return impl == Impl::fused_w13 || impl == Impl::fused_w13_preweight || impl == Impl::fast;
}
inline bool has_preweight(Impl impl) { return impl == Impl::preweight || impl == Impl::fused_w13_preweight; }
inline bool has_scatter(Impl impl) { return impl == Impl::scatter || impl == Impl::fast; }

// `computation` and `communication` leave out the other half of a step, to measure how well they overlap.
// Only `whole` gives results.
enum class StepPart { whole, computation, communication };
constexpr auto words(StepPart) { return std::array{"whole", "computation", "communication"}; }

// BlockOptions has all choices of how a block is computed.
struct BlockOptions {
  Backend backend = Backend::gmm;
  Impl impl = Impl::fused_w13;
  Remat remat = Remat::none;
  Pass pass = Pass::forward_backward;
  PackStrategy pack = PackStrategy::counting_sort;
  Capacity capacity{};
  bool shared_fused = false;
  bool router_grad = false;
  BalanceLoss balance_loss{};     // its gradient is added to dlogits; needs router_grad
  bool prequeue = false;          // the plan (and packed rows) are made before the clock starts; forward only
  bool route_in_step = false;     // each step begins with the router; each device routes its own tokens
  bool router_product = false;    // with route_in_step: logits are x W_g, and the gradient goes to W_g and x
  bool renormalize_topk = false;  // with route_in_step: a token's gate values are scaled to a sum of 1
  BlockSizes blocks{};            // for backend gmm
  StepPart part = StepPart::whole;
  Ablation ablation{};            // left out of every step but the first; such a run has no results
  bool expert_by_expert = false;  // rows go through the MLP one expert after the other, not all together

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"shared_fused", "one product with S1|S3 instead of two"}, self.shared_fused);
    visit(Field{"bench_pass", "the passes of a step"}, self.pass);
    visit(Field{"backend", "gmm: grouped GEMM of moehill; ragged_dot: a CBLAS call a group"}, self.backend);
    visit(Field{"impl", "how the block is computed; both, all: a point for each"}, self.impl);
    visit(Field{"routing_pack_strategy", "how the assignments are put in the order of the experts"},
          self.pack);
    QueueMode queue = self.prequeue ? QueueMode::prequeue : QueueMode::full;
    visit(Field{"queue_mode"}, Told{queue});
    if constexpr (!std::is_const_v<Self>) self.prequeue = queue == QueueMode::prequeue;
    visit(Field{"remat_mode", "what backward computes again, so that forward need not keep it"}, self.remat);
    visit(Field{"capacity_factor",
                "capacity C = ceil(factor * T * k / (n * E)) rows an expert, n: --capacity-sources, or 1", 0,
                1e6},
          self.capacity.factor);
    visit(
        Field{"capacity_policy", "drop: assignments past C are left out; pad: every expert computes C rows"},
        self.capacity.policy);
    const bool drops = self.capacity.policy == CapacityPolicy::drop;
    const auto laboratory = [&](const char* name, const char* help, double lo, double hi) {
      return Field{name, help, lo, hi, drops, !self.capacity.is_plain()};
    };
    visit(laboratory("capacity_order", "drop: which assignments a full expert keeps", 0, 0),
          self.capacity.order);
    visit(laboratory("capacity_pool", "drop: this many neighbouring experts share their rows", 1, 65536),
          self.capacity.pool);
    visit(laboratory("capacity_sources", "drop: shares of the tokens, each with rows of its own", 1, 1024),
          self.capacity.sources);
    visit(laboratory("capacity_spares", "drop: number of a token's next choices that may take its overflow",
                     0, 64),
          self.capacity.spares);
    visit(Field{"router_grad", "backward goes on from the gate values to the logits"}, self.router_grad);
    std::string loss = to_string(self.balance_loss);
    visit(Field{.name = "balance_loss", .present = !self.balance_loss.empty()}, Told{loss});
    if constexpr (!std::is_const_v<Self>) self.balance_loss = parse_balance_loss(loss);
    visit(Field{"route_in_step"}, self.route_in_step);
    visit(Field{.name = "router_product", .present = self.router_product}, self.router_product);
    visit(Field{"renormalize_topk", "gate values of a token add up to 1"}, self.renormalize_topk);
    visit(Field{"expert_by_expert"}, self.expert_by_expert);
    std::string sizes = to_string(self.blocks);
    visit(Field{"blocks", "", 0, 0, self.backend == Backend::gmm}, Told{sizes});
    if constexpr (!std::is_const_v<Self>) self.blocks = parse_blocks(sizes);
    std::string word = self.ablation.word;
    visit(Field{.name = "ablate", .present = !word.empty()}, Told{word});
    if constexpr (!std::is_const_v<Self>) self.ablation = parse_ablation(word);
  }
};

}  // namespace moehill
