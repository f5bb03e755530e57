// Dump writes all tensors of a block as .npy files, so that anyone can verify the block with other tools,
// such as NumPy or PyTorch.
//
//     dump_block(share, Pass::forward_backward, "dump");   // dump/x.npy, dump/w1.npy, ... dump/dp.npy
//
// The files are x w1 w2 w3 s1 s2 s3 topk_idx topk_weights y and, with a backward pass, dx dw1 dw2 dw3 ds1 ds2
// ds3 dp, and dlogits with --router-grad. They hold f32 in the order of the mathematics, and int32 for
// topk_idx, in which zero experts are numbered after the experts. s* are only there with a shared expert, wg
// and dwg [H, L] only if the router's product is part of the step; b1 b2 b3, sg and latent_* (and their
// gradients) only if the block's form has them. With a router there are also its logits and, if it has them,
// router_bias, router_scale, router_table [ids, k] and router_ids [T].
#pragma once

#include <string>

#include "moehill/block/options.h"
#include "moehill/moe/check_share.h"

namespace moehill {

// Collective over the processes of the share. The first process makes the folder and writes. It holds one
// piece at a time of what the others have: an expert's matrix, or rows of some tokens.
void dump_block(const CheckShare& share, Pass pass, const std::string& folder);

}  // namespace moehill
