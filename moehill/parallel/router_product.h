// RouterProduct is a device's part of the product that makes the router's logits, in f32 whatever the type of
// x is. It does not route; routing/router.h does.
//
//   z [n, L] = x [n, H] W_g [H, L];   from dz: dW_g = x^T dz and dx += dz W_g^T
//
//     RouterProduct product({.tokens = n, .hidden = 2048, .logits = 64, .num_threads = 4});
//     product.forward(team, x, w, z);
#pragma once

#include <memory>
#include <vector>

#include "moehill/kernels/grouped_gemm.h"
#include "moehill/mesh/group.h"
#include "moehill/parallel/operands.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// RouterProductSizes are the largest sizes of a step. RouterProduct takes memory for them.
struct RouterProductSizes {
  int64_t tokens = 0;  // at most
  int64_t hidden = 0;
  int64_t logits = 0;  // L
  int num_threads = 1;
};

class RouterProduct {
 public:
  explicit RouterProduct(const RouterProductSizes& sizes);

  // Both allocate nothing. z and dz [n, L] are rows of f32 without gaps. w and dw [H, L] are stacks of one
  // matrix (router_stack()). A row of z has the same bits whichever rows are computed with it, and for teams
  // of any size.
  void forward(ThreadTeam& team, const MatView& x, const WeightView& w, float* z);
  void backward(ThreadTeam& team, const MatView& x, const WeightView& w, const float* dz,
                const WeightView& dw, const MatView& dx);

  void spoil(const MemoryVisitor& visit);
  static double bytes(const RouterProductSizes& sizes);  // of work space

 private:
  RowSource widened(ThreadTeam& team, const MatView& x);

  std::unique_ptr<GroupedGemm> gemm_;
  std::vector<int64_t> offset_{0, 0};
  Matrix logits_;  // [tokens, L], in rows of whole cache lines
  Matrix rows_;    // [tokens, H] in f32, tight: x, then its gradient
};

// RouterProducts are the router's products of all devices of a process, with their parts of dW_g.
class RouterProducts {
 public:
  // `local` are the devices of this process. The weights have to live as long as this object.
  RouterProducts(const RunConfig& config, Range local, const WeightOperands& weights);

  // SPMD, over the rows of x of the device's own tokens. Both allocate nothing.
  void forward(Group& group, const MatView& x, float* z);
  // Adds dz W_g^T to dx. The devices sum their parts of dW_g, and each ends with its share of the elements.
  void backward(Group& group, const MatView& x, const float* dz, const MatView& dx);
  void spoil(int rank, const MemoryVisitor& visit) { of(rank).spoil(visit); }

 private:
  RouterProduct& of(int64_t rank) { return products_[static_cast<size_t>(rank - first_)]; }

  const WeightOperands& weights_;
  int64_t first_;
  std::vector<RouterProduct> products_;  // [local devices]
  std::vector<WeightStack> parts_;       // [local devices]; empty for a single device
  std::vector<int64_t> offsets_;         // [P + 1] the elements of dW_g that each device ends with
};

// Returns a stack that holds W_g or its gradient.
WeightStack router_stack(int64_t hidden, int64_t logits);
double router_weight_bytes(int64_t hidden, int64_t logits);

}  // namespace moehill
