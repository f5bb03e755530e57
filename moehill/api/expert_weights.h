// HostExperts is the weights of experts in the caller's memory: which pointer holds what, and in which order.
// It copies between them and the block's stacks, which keep weights as the kernels read them.
//
//     const HostExperts host(weights, HostExperts::routed(shape, count));   // Failure for wrong pointers
//     host.load(team, /*first=*/0, stacks);
#pragma once

#include <array>

#include "moehill/api/failure.h"
#include "moehill/api/host_matrix.h"
#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"

namespace moehill {

class HostExperts {
 public:
  // Shape: a set of weights belongs to a number of routed experts, or to the shared expert.
  struct Shape {
    int64_t count, hidden, width;
    bool gated, biases, gate;  // there is a W3; there are biases; the shared expert has a gate
    // H' of the products around the experts, which come with the shared expert.
    int64_t latent = 0;
    bool norm = false;
  };
  static Shape routed(const MoeShape& shape, int64_t count) {
    return {count, shape.expert_hidden(), shape.mlp_dim, shape.form.activation.gated, shape.form.biases,
            false};
  }
  static Shape shared(const MoeShape& shape) {
    return {1,     shape.hidden,           shape.shared_dim,  shape.form.activation.gated,
            false, shape.form.shared_gate, shape.form.latent, shape.form.latent_norm > 0};
  }
  // Throws Failure for pointers that do not go together or that the block has no use for, for memory that
  // cannot be used, and for unknown types or orders. Weights are read, gradients are written.
  HostExperts(const moehill_weights* weights, const Shape& shape);
  HostExperts(const moehill_gradients* gradients, const Shape& shape);

  // Copy the caller's experts from `first` on to `stacks`, as many as these have, and back. Tensors for which
  // the caller gave no pointer stay as they are.
  void load(ThreadTeam& team, int64_t first, const MlpWeights& stacks,
            const LatentWeights& latent = {}) const;
  void store(ThreadTeam& team, int64_t first, const MlpWeights& stacks,
             const LatentWeights& latent = {}) const;

 private:
  HostExperts(const moehill_gradients& given, const Shape& shape, bool is_written);
  template <typename Move>
  void for_each(int64_t first, const MlpWeights& stacks, const LatentWeights& latent, const Move& move) const;

  int64_t width_, latent_;
  bool accumulates_;
  // The order is that of for_each(): W1, W3, W2, the biases of their products, the shared expert's gate, the
  // products around the experts and their norm.
  std::array<HostMatrices, 10> parts_;
};

// Returns the bytes of the weights as they are stored.
size_t stored_bytes(const MlpWeights& weights);
size_t stored_bytes(const LatentWeights& weights);
// Returns the most bytes of a device's work space: plan, rows between the products, and what its path keeps.
int64_t work_bytes(const RunConfig& config, int device, int num_processes);

}  // namespace moehill
