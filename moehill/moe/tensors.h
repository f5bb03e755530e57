// The block's tensors as the mathematics names them, whatever their layout: what is filled, dumped and
// checked.
#pragma once

#include "moehill/block/shape.h"
#include "moehill/routing/balance_loss.h"
#include "moehill/routing/router.h"
#include "moehill/tensor/weight_stack.h"
#include "moehill/tensor/wire.h"

namespace moehill {

// W1, W3 [E][H, M], W2 [E][M, H]; S1, S3 [1][H, S], S2 [1][S, H] (rows() == 0 when the shape has no shared
// expert, nor W3 and S3 where the activation is not gated). The gradients have the same form.
struct BlockWeights {
  LogicalWeights w1, w3, w2;
  LogicalWeights s1, s3, s2;
  LogicalWeights b1, b3, b2;  // [E][1, M], b2 [E][1, H]: biases of the experts
  LogicalWeights sg;          // [1][1, H]: of the shared expert's gate
  LogicalWeights wg{};        // [1][H, L]: of the router, where its product is a part of the step
  // Around experts of another width H' than the model's: [1][H, H'], the way back transposed, and [1][1, H'].
  LogicalWeights latent_down{}, latent_up{}, latent_norm{};
};

// Rows [T, H'] of a block whose experts are of another width than the model's. n and dn are r and dr where
// there is no norm.
struct LatentRows {
  MatView z{}, r{}, n{};     // what experts see, their sums, and these after the norm
  MatView dn{}, dr{}, dz{};  // the gradients, with Pass::forward_backward only
};

// Inputs and results of one step. dy = 2 y / (T H) is never stored.
struct BlockTensors {
  MoeShape shape;
  MatView x;  // [T, H]
  BlockWeights weights;
  const Routing* routing = nullptr;
  const int32_t* kept =
      nullptr;  // [T, k] 1 if the assignment is computed, 0 if dropped by capacity; null: all kept
  // `wire` is the form in which rows of x and dy came to experts on other nodes than the token's. `far` [T,
  // k] is 1 for an assignment to such an expert; null: there is none.
  Wire wire = Wire::native;
  const uint8_t* far = nullptr;
  Wire wire_of(int64_t token, int choice) const {
    return far != nullptr && far[token * shape.topk + choice] != 0 ? wire : Wire::native;
  }
  // The router and its logits [T, L]; both null where `routing` is taken as it is, with gate values of the
  // softmax over the chosen.
  const Router* router = nullptr;
  const float* logits = nullptr;
  // Added to the gradient of the logits, which are there with it; null: none.
  const BalanceLoss* balance_loss = nullptr;
  MatView y;  // [T, H]
  LatentRows latent{};
  // The values that backward read, over dy_scale; without data they are y, over 2 / (T H).
  MatView dy{};
  double dy_scale = 0;
  const MatView& read_dy() const { return dy.data == nullptr ? y : dy; }
  double loss_scale() const {
    if (dy.data != nullptr) return dy_scale;
    return 2.0 / (static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden));
  }
  // These exist with Pass::forward_backward only.
  MatView dx;  // [T, H]
  BlockWeights gradients;
  const float* dp = nullptr;       // [T, k]; zero for a dropped assignment
  const float* dlogits = nullptr;  // [T, L] with router_grad
};

}  // namespace moehill
