// How the block is computed: the choices of one run, each a small enum that flows down by value.
#pragma once

#include <string>

#include "moehill/kernels/block_sizes.h"
#include "moehill/moe/shape.h"
#include "moehill/routing/plan.h"

namespace moehill {

enum class Backend { gmm, ragged_dot };
enum class Impl { baseline, fused_w13, preweight, fused_w13_preweight, scatter, fast };
enum class Remat { none, expert_mlp, combine };

// What an impl is made of.
inline bool has_fused_w13(Impl impl) {
  return impl == Impl::fused_w13 || impl == Impl::fused_w13_preweight || impl == Impl::fast;
}
inline bool has_preweight(Impl impl) { return impl == Impl::preweight || impl == Impl::fused_w13_preweight; }
inline bool has_scatter(Impl impl) { return impl == Impl::scatter || impl == Impl::fast; }

// What of a step is done; results are those of the whole alone.
enum class StepPart { whole, computation, communication };

struct BlockOptions {
  Backend backend = Backend::gmm;
  Impl impl = Impl::fused_w13;
  Remat remat = Remat::none;
  Pass pass = Pass::forward_backward;
  PackStrategy pack = PackStrategy::counting_sort;
  Capacity capacity;
  bool shared_fused = false;
  bool router_grad = false;
  bool prequeue = false;          // plan (and packed rows) made before the clock starts; forward only
  bool route_in_step = false;     // each step begins with the router, on each device for its own tokens
  bool renormalize_topk = false;  // with route_in_step: gate values of a token add up to 1
  BlockSizes blocks{};            // of backend gmm
  StepPart part = StepPart::whole;
  bool expert_by_expert = false;  // one expert's rows at a time go through the MLP, not all together
};

const char* name_of(Backend);
const char* name_of(Impl);
const char* name_of(Remat);
const char* name_of(Pass);
const char* name_of(PackStrategy);
const char* name_of(CapacityPolicy);
const char* name_of(StepPart);

}  // namespace moehill
