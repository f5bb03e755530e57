// Weights of experts in the caller's memory: which pointers hold what, and in which order.
#pragma once

#include <array>

#include "moehill/api/failure.h"
#include "moehill/api/host_matrix.h"
#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"

namespace moehill {

class HostExperts {
 public:
  // A set of weights belongs to a number of routed experts, or to the shared one.
  struct Shape {
    int64_t count, hidden, width;
    bool gated, biases, gate;  // there is a W3, there are biases, there is the shared expert's gate
    int64_t latent = 0;        // H' of the products around the experts, which go with the shared one
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
  // Throws Failure for pointers that do not go together or that the block has no use for, memory that cannot
  // be used, and unknown types or orders. Weights are read, gradients are written.
  HostExperts(const moehill_weights* weights, const Shape& shape);
  HostExperts(const moehill_gradients* gradients, const Shape& shape);

  // The caller's experts from `first` on become those of `stacks`, as many as these have; and back. What the
  // caller gave no pointer for is left as it is.
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
  // The names are those of for_each(): W1, W3, W2, the biases of their products, the shared expert's gate,
  // the products around the experts and their norm.
  std::array<HostMatrices, 10> parts_;
};

// Returns the bytes of the weights as they are stored.
size_t stored_bytes(const MlpWeights& weights);
size_t stored_bytes(const LatentWeights& weights);
// Most bytes of a device's work space: plan, rows between the products, what its path keeps.
int64_t work_bytes(const RunConfig& config, int device, int num_processes);

}  // namespace moehill
