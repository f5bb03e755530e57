// This header names the block's tensors as the formulas do, whatever their layout in memory. The code that
// fills, dumps and checks a block works on BlockTensors, so it is the same for every backend and path.
// BlockTensors has views and owns nothing. A step does not use it.
#pragma once

#include "moehill/block/shape.h"
#include "moehill/routing/balance_loss.h"
#include "moehill/routing/router.h"
#include "moehill/tensor/weight_stack.h"
#include "moehill/tensor/wire.h"

namespace moehill {

// BlockWeights are the matrices W1, W3 [E][H, M] and W2 [E][M, H], and S1, S3 [1][H, S] and S2 [1][S, H]. A
// matrix that the block does not have has rows() == 0: S1, S2 and S3 without a shared expert, W3 and S3 if
// the activation is not gated. The gradients of the weights have this type too.
//
//   const float w = weights.w1.at(expert, h, m);
struct BlockWeights {
  LogicalWeights w1, w3, w2;
  LogicalWeights s1, s3, s2;
  LogicalWeights b1, b3, b2;  // [E][1, M], b2 [E][1, H]: biases of the experts
  LogicalWeights sg;          // [1][1, H]: the vector of the shared expert's gate
  LogicalWeights wg{};  // [1][H, L]: the router's matrix, if its product is a part of the step; L is its
                        // number of logits
  // Matrices around experts whose width H' is not the model's: both are [1][H, H'], so latent_up is
  // transposed. The norm is [1][1, H'].
  LogicalWeights latent_down{}, latent_up{}, latent_norm{};
};

// LatentRows are the rows [T, H'] of a block whose experts have another width than the model. Without a norm,
// n is r and dn is dr.
struct LatentRows {
  MatView z{}, r{}, n{};     // the experts' inputs, their sums, and the sums after the norm
  MatView dn{}, dr{}, dz{};  // the gradients, with Pass::forward_backward only
};

// BlockTensors are the inputs and results of one step. dy = 2 y / (T H) is not stored.
struct BlockTensors {
  MoeShape shape;
  MatView x;  // [T, H]
  BlockWeights weights;
  const Routing* routing = nullptr;
  const int32_t* kept =
      nullptr;  // [T, k] 1 if the assignment is computed, 0 if dropped by capacity; null: all kept
  // Rows of x and dy that went to an expert on another node arrived in the form `wire`. far [T, k] is 1 for
  // an assignment to such an expert; null: no row changed its form.
  Wire wire = Wire::native;
  const uint8_t* far = nullptr;
  Wire wire_of(int64_t token, int choice) const {
    return far != nullptr && far[token * shape.topk + choice] != 0 ? wire : Wire::native;
  }
  // The router and its logits [T, L]. Both are null if no router made `routing`; then its gate values are the
  // softmax over the chosen logits.
  const Router* router = nullptr;
  const float* logits = nullptr;
  // The routing that the step itself made of these logits for the process's own tokens, to be checked beside
  // `routing`, which was made before the step; null: the step has no router.
  const Routing* step_routing = nullptr;
  // The loss whose gradient is added to dlogits; it needs the router and logits. null: none.
  const BalanceLoss* balance_loss = nullptr;
  MatView y;  // [T, H]
  LatentRows latent{};
  // The gradient of y is dy_scale times these values. Without data it is 2 / (T H) times y.
  MatView dy{};
  double dy_scale = 0;
  const MatView& read_dy() const { return dy.data == nullptr ? y : dy; }
  double loss_scale() const {
    if (dy.data != nullptr) return dy_scale;
    return 2.0 / (static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden));
  }
  // The tensors from here on exist with Pass::forward_backward only.
  MatView dx;  // [T, H]
  BlockWeights gradients;
  const float* dp = nullptr;       // [T, k]; zero for a dropped assignment
  const float* dlogits = nullptr;  // [T, L] with router_grad
};

}  // namespace moehill
