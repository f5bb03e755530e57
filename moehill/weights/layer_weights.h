// LayerWeights reads the experts, the shared expert and the router of one layer of a checkpoint into the
// stacks of a run. It knows the names that model families use (layer_names.h, matrix_reader.h). It does not
// know devices: each device asks for its own experts.
//
//   LayerWeights layer("models/qwen", std::nullopt, {.hidden = 2048, .mlp_dim = 768, .experts = 128});
//   layer.fill_experts(team, {0, 64}, targets);   // the first half of the experts
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

// LayerShape has the sizes and parts that a block asks for.
struct LayerShape {
  int64_t hidden = 0, mlp_dim = 0;
  int experts = 0;
  int64_t shared_dim = 0;  // width of the shared expert; 0: none
  MlpForm form{};          // the form of the routed experts; the shared expert never has biases
  bool shared_gate = false;
  int zero_experts = 0;  // the router has rows for them behind the rows of the experts
  // Vectors of the router, read if the checkpoint has them.
  bool selection_bias = false, expert_scale = false;
  int64_t latent = 0;  // width of the rows that routed experts see; 0: hidden
  bool latent_norm = false;
  int64_t expert_hidden() const { return latent > 0 ? latent : hidden; }
};

// LayerTargets are the stacks to fill: W1 and W3 [groups][H, M], W2 [groups][M, H], and vectors: biases of W1
// and W3 [groups][1, M], biases of W2 [groups][1, H], and the gate of a shared expert [1][1, H]. Parts that
// the experts do not have stay empty.
struct LayerTargets {
  LogicalWeights w1, w3, w2;
  LogicalWeights b1{}, b3{}, b2{}, row_gate{};
};

// LatentTargets are the matrices around experts of another width H': W_down [1][H, H'], W_up transposed
// [1][H, H'], and the norm [1][1, H'].
struct LatentTargets {
  LogicalWeights down, up, norm;
};

// RouterVectors are the vectors of a layer's router. A vector is empty if the checkpoint does not have it. L
// counts experts and zero experts.
struct RouterVectors {
  std::vector<float> selection_bias;  // [L]
  std::vector<float> expert_scale;    // [E]
};

// LayerSources are the matrices of a layer that all experts share, as the files have them. null: the layer
// has none, or the block asked for none.
struct LayerSources {
  const MlpSource* shared = nullptr;
  const SourceMatrix *shared_gate = nullptr, *router = nullptr;
  const SourceMatrix *latent_down = nullptr, *latent_up = nullptr, *latent_norm = nullptr;
};

// LoadFigures is the cost of loading so far.
struct LoadFigures {
  double bytes = 0;  // bytes read from the files
  double seconds = 0;
  double rounding = 0;  // the largest error of rounding to the stacks' type, as a share of the value
};

// LayerWeights is one layer of a checkpoint. Only one thread may use an object at a time; the team that it
// passes shares the work.
class LayerWeights {
 public:
  // Opens the files and finds every tensor, but reads no values yet. Without `layer` it takes the first layer
  // with experts. Throws InputError if something is missing or has another size.
  LayerWeights(const std::string& path, std::optional<int64_t> layer, const LayerShape& shape);

  // These functions fill one group of the targets for each expert of the range, the group of the shared
  // expert, or the matrices around the experts. They throw InputError for values that are not finite.
  void fill_experts(ThreadTeam& team, Range experts, const LayerTargets& targets);
  void fill_shared(ThreadTeam& team, const LayerTargets& targets);
  void fill_latent(ThreadTeam& team, const LatentTargets& targets);

  int64_t layer() const { return names_.layer; }
  Encoding encoding() const { return experts_.front().gate.encoding; }
  std::string form()
      const;  // name of the tensor that has the gates: "model.layers.0.mlp.experts.*.gate_proj.weight"
  // Returns the names of the block's tensors that were not used, such as biases. The number of an expert is
  // replaced by *.
  const std::vector<std::string>& unused() const { return unused_; }
  // Returns the router's weights [L, H], or nothing if the checkpoint does not have them.
  std::optional<std::vector<float>> router() const;
  // Returns true if the router adds a bias to its logits, which is not supported.
  bool router_has_bias() const { return router_has_bias_; }
  const RouterVectors& router_vectors() const { return router_vectors_; }
  // These functions return where the numbers are in the files, so that a check can read some of them again.
  const MlpSource& source_of_expert(int64_t expert) const { return experts_[static_cast<size_t>(expert)]; }
  LayerSources sources() const;
  // Returns a hash of the stored bytes of all experts, the shared expert and the products around them. It
  // does not depend on how the model is split into files. All parts must have been filled, here or by other
  // processes (see take()).
  uint64_t hash() const;
  // Returns [E + 1]: the hashes of the experts and the shared expert that this process has filled; 0 for the
  // others. take() adds the hashes from other processes.
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
  uint64_t latent_hash_ = 0;      // 0: not filled
  std::vector<uint64_t> hashes_;  // [E + 1] of the experts and the shared one; 0 until filled
  LoadFigures figures_;
};

}  // namespace moehill
