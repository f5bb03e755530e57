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

// Faults that tests plant to see the check catch them; `none` in every other use.
enum class Fault {
  none,
  offset_off_by_one,       // every expert boundary after the first shifted by one row
  padding_in_first_group,  // a shard's padding counted to its first expert: boundaries shifted by several
                           // rows
  expert_id_shifted,       // expert e computed with the weights of e + 1
  swapped_w1_w3,           // gate and up exchanged
  transposed_w2,           // W2 read with its two indices exchanged
  gate_value_left_out,     // p taken as 1
  wrong_gate_order,        // gate values of a token's first two choices exchanged
  last_token_lost,         // the last token's routed result is missing
  duplicate_row,           // one row computed for its neighbour's token
  shared_counted_twice,    // shared expert added once more
  shared_left_out,         // shared expert missing
  tail_column_lost,        // the last column of y is not written
  stale_reduce,            // a device's partial sums of an earlier step enter the reduction
  peer_partial_missing,    // the reduction leaves out the last device
  dp_not_scaled,           // dp without the 2 / (T H) of the loss
  backward_p_left_out,     // backward takes the gate value as 1
  backward_row_lost,       // backward misses the last row of each expert
  dx_misses_one_expert,    // dx without the first expert's share
  dw_of_wrong_expert,      // the first two experts' gradients exchanged
};

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
  bool prequeue = false;  // plan (and packed rows) made before the clock starts; forward only
  Fault fault = Fault::none;
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
const char* name_of(Fault);
const char* name_of(StepPart);

}  // namespace moehill
