// The block's tensors as the mathematics names them, whatever their layout: what is filled, dumped and
// checked.
#pragma once

#include "moehill/block/shape.h"
#include "moehill/routing/balance_loss.h"
#include "moehill/routing/router.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// W1, W3 [E][H, M], W2 [E][M, H]; S1, S3 [1][H, S], S2 [1][S, H] (rows() == 0 when the shape has no shared
// expert, nor W3 and S3 where the activation is not gated). The gradients have the same form.
struct BlockWeights {
  LogicalWeights w1, w3, w2;
  LogicalWeights s1, s3, s2;
  LogicalWeights b1, b3, b2;  // [E][1, M], b2 [E][1, H]: biases of the experts
  LogicalWeights sg;          // [1][1, H]: of the shared expert's gate
};

// Inputs and results of one step. dy = 2 y / (T H) is never stored.
struct BlockTensors {
  MoeShape shape;
  MatView x;  // [T, H]
  BlockWeights weights;
  const Routing* routing = nullptr;
  const int32_t* kept =
      nullptr;  // [T, k] 1 if the assignment is computed, 0 if dropped by capacity; null: all kept
  // The router and its logits [T, L]; both null where `routing` is taken as it is, with gate values of the
  // softmax over the chosen.
  const Router* router = nullptr;
  const float* logits = nullptr;
  // Added to the gradient of the logits, which are there with it; null: none.
  const BalanceLoss* balance_loss = nullptr;
  MatView y;  // [T, H]
  // These exist with Pass::forward_backward only.
  MatView dx;  // [T, H]
  BlockWeights gradients;
  const float* dp = nullptr;       // [T, k]; zero for a dropped assignment
  const float* dlogits = nullptr;  // [T, L] with router_grad
};

}  // namespace moehill
