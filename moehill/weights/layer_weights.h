// One layer's experts, shared expert and router in a checkpoint, and their way into the stacks of a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"
#include "moehill/weights/layer_names.h"
#include "moehill/weights/matrix_reader.h"

namespace moehill {

// Sizes and experts that a block asks for.
struct LayerShape {
  int64_t hidden = 0, mlp_dim = 0;
  int experts = 0;
  int64_t shared_dim = 0;  // 0: no shared expert
  MlpForm form{};          // the shared expert has no biases
  bool shared_gate = false;
  int zero_experts = 0;                               // which the router has rows of behind the experts'
  bool selection_bias = false, expert_scale = false;  // of the router: read where the checkpoint has them
  int64_t latent = 0;  // width of the rows that the routed experts see; 0: hidden
  bool latent_norm = false;
  int64_t expert_hidden() const { return latent > 0 ? latent : hidden; }
};

// W1, W3 [groups][H, M], W2 [groups][M, H] of a stack and the vectors beside them: biases [groups][1, M], of
// W2 [groups][1, H], and the gate [1][1, H] of a shared expert. What the experts do not have is empty.
struct LayerTargets {
  LogicalWeights w1, w3, w2;
  LogicalWeights b1{}, b3{}, b2{}, row_gate{};
};

// The products around experts of another width: [1][H, H'], the way back transposed, and the norm [1][1, H'].
struct LatentTargets {
  LogicalWeights down, up, norm;
};

// The vectors of a layer's router; empty what the checkpoint does not have. L: experts and zero experts.
struct RouterVectors {
  std::vector<float> selection_bias;  // [L]
  std::vector<float> expert_scale;    // [E]
};

// Cost of loading so far.
struct LoadFigures {
  double bytes = 0;  // read of the files
  double seconds = 0;
  double rounding = 0;  // the largest error of rounding to the stacks' type, as a share of a value
};

class LayerWeights {
 public:
  // Opens the files and finds every tensor; reads none. layer: none is the first with experts. Throws
  // InputError.
  LayerWeights(const std::string& path, std::optional<int64_t> layer, const LayerShape& shape);

  // Fill one group of the targets for each expert of the range, or the one of the shared expert. Throw
  // InputError.
  void fill_experts(ThreadTeam& team, Range experts, const LayerTargets& targets);
  void fill_shared(ThreadTeam& team, const LayerTargets& targets);
  void fill_latent(ThreadTeam& team, const LatentTargets& targets);

  int64_t layer() const { return names_.layer; }
  Encoding encoding() const { return experts_.front().gate.encoding; }
  std::string form()
      const;  // name and shape of what has the gates: "model.layers.0.mlp.experts.*.gate_proj.weight"
  // Tensors of the block that no run uses yet, such as biases, the number of an expert as a *.
  const std::vector<std::string>& unused() const { return unused_; }
  // The router's weights [L, H]; none where the checkpoint has no such name.
  std::optional<std::vector<float>> router() const;
  bool router_has_bias() const { return router_has_bias_; }  // that is added to logits
  const RouterVectors& router_vectors() const { return router_vectors_; }
  // A hash of the stored bytes of all experts, of what is around them and the shared one, whatever files they
  // are in. All have been filled.
  uint64_t hash() const;
  // [E + 1] of what this process has filled, 0 elsewhere; it takes in what other processes have.
  const std::vector<uint64_t>& hashes() const { return hashes_; }
  void take(const std::vector<uint64_t>& hashes);
  const LoadFigures& figures() const { return figures_; }

 private:
  void read_experts(MatrixReader& reader, const LayerShape& shape);
  void require_experts(int64_t wanted);
  void read_router(MatrixReader& reader, const LayerShape& shape);
  void read_router_vectors(MatrixReader& reader, const LayerShape& shape);
  void read_shared(MatrixReader& reader, const LayerShape& shape);
  void read_latent(MatrixReader& reader, const LayerShape& shape);
  uint64_t load(ThreadTeam& team, const MlpSource& mlp, const LayerTargets& targets, int64_t group);

  Checkpoint checkpoint_;
  LayerNames names_;
  std::vector<MlpSource> experts_;
  std::optional<MlpSource> shared_;
  std::optional<SourceMatrix> router_, shared_gate_;
  std::optional<SourceMatrix> latent_down_, latent_up_, latent_norm_;
  bool router_has_bias_ = false;
  RouterVectors router_vectors_;
  std::vector<std::string> unused_;
  uint64_t latent_hash_ = 0;      // 0: nothing was filled
  std::vector<uint64_t> hashes_;  // [E + 1] of the experts and the shared one, once filled
  LoadFigures figures_;
};

}  // namespace moehill
