// Dump: all tensors of a block as .npy files, so that anyone can verify with other tools.
#pragma once

#include <string>

#include "moehill/block/options.h"
#include "moehill/moe/check_share.h"

namespace moehill {

// With a router its logits, and where it has them router_bias, router_scale, router_table [ids, k] and
// router_ids [T].
// x w1 w2 w3 s1 s2 s3 topk_idx topk_weights y and, with a backward pass, dx dw1 dw2 dw3 ds1 ds2 ds3 dp
// (dlogits with router_grad): f32 of the stored values in the order of the mathematics, int32 for topk_idx,
// where zero experts are numbered behind the experts.
// s* only with a shared expert, wg and dwg [H, L] with router_product. Makes `folder`.
// Collective over the processes of the share. The first one writes; of what others have it holds a piece at a
// time: an expert's matrix, or rows of some tokens.
void dump_block(const CheckShare& share, Pass pass, const std::string& folder);

}  // namespace moehill
