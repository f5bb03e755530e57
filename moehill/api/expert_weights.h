// HostExperts are the weights of experts in the caller's memory: which pointer holds which matrix, and in
// which order. It copies between this memory and the block's stacks, which keep weights as the kernels read
// them. It owns no weights.
//
//     const HostExperts host(weights, HostExperts::routed(shape, count));   // may throw Failure
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
  // Shape says which matrices and vectors a set of weights has. A set belongs to `count` routed experts, or
  // to the shared expert.
  struct Shape {
    int64_t count, hidden, width;
    bool gated, biases, gate;  // there are a W3, biases, a gate of the shared expert
    // H', the width of the products around the experts; 0: none. Their matrices come with the shared expert.
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
  // Both throw Failure for pointers that exclude each other or that the block has no use for, for memory that
  // cannot be used, and for unknown types or orders. Weights are read, gradients are written.
  HostExperts(const moehill_weights* weights, const Shape& shape);
  HostExperts(const moehill_gradients* gradients, const Shape& shape);

  // load() copies the caller's experts from `first` on to `stacks`, as many experts as `stacks` have, and
  // store() copies them back. Tensors for which the caller gave no pointer stay as they are.
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
  // In the order of for_each(): W1, W3, W2, the biases of their products, the shared expert's gate, the two
  // latent matrices and the latent norm.
  std::array<HostMatrices, 10> parts_;
};

// Returns the bytes of the weights as they are stored.
size_t stored_bytes(const MlpWeights& weights);
size_t stored_bytes(const LatentWeights& weights);
// Returns how many bytes a device's work space takes at most: its plan, the rows between its products, and
// the memory that its path keeps.
int64_t work_bytes(const RunConfig& config, int device, int num_processes);

}  // namespace moehill
