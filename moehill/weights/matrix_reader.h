// Matrices of a checkpoint by the names of Hugging Face: their encoding found by type and scales, their shape
// held to the block's.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "moehill/weights/checkpoint.h"
#include "moehill/weights/source_matrix.h"

namespace moehill {

// A dimension of the block, the option that sets it, and how many of it a tensor has side by side.
struct Dimension {
  int64_t size = 0;
  const char* option = "";
  int64_t times = 1;
  int64_t stored() const { return size * times; }
};

// gate [M, H], up [M, H] and down [H, M] of an expert as they lie in a file, and its biases [1, M], [1, M]
// and [1, H]. One without a gate has its only matrix [M, H] as `gate`. What is not there has no bytes.
struct MlpSource {
  SourceMatrix gate, up, down;
  SourceMatrix gate_bias{}, up_bias{}, down_bias{};
};

// The matrices and vectors that the experts of a block have.
struct MlpForm {
  bool gated = true, biases = false;
};

// All experts in two tensors.
struct StackNames {
  std::string gate_up, down;
};

// Every member throws InputError.
class MatrixReader {
 public:
  explicit MatrixReader(Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // [outputs, inputs]; base: "model.layers.3.mlp.experts.17.up_proj".
  SourceMatrix matrix(const std::string& base, Dimension outputs, Dimension inputs);

  // [1, n] of one dimension or two, in a type of plain numbers.
  SourceMatrix vector(const std::string& name, Dimension n);

  // The matrices behind "model.layers.3.mlp.experts.17.": three, or two where gate and up are one with the
  // rows of gate first; none where the checkpoint has no such name.
  std::optional<MlpSource> mlp(const std::string& base, Dimension hidden, Dimension width, MlpForm form);

  // Experts in [E, 2M, H] and [E, H, M], or in [E, H, 2M] and [E, M, H]. Rows of gate and up come in turn
  // where the experts have biases, which is gpt-oss's form; else those of gate come first.
  std::vector<MlpSource> stacks(const StackNames& names, Dimension experts, Dimension hidden, Dimension width,
                                MlpForm form);

  bool has_tensor(const std::string& name) const { return checkpoint_.has(name); }
  bool has(const std::string& base) const;  // by any of the names that a matrix or a stack may have
  const std::set<std::string>& used() const { return used_; }  // every tensor that was read

 private:
  // A tensor with its scales; of a stack, bytes and scales are those of all experts.
  struct Stored {
    SourceMatrix matrix;
    std::vector<int64_t> shape;  // in values: [rows, columns] or [E, rows, columns]
  };
  Stored stored(const std::string& base);
  Stored plain(const std::string& name, const std::vector<std::string>& scale_names);
  Stored packed(const std::string& base);
  Stored gpt_oss_blocks(const std::string& base);
  void add_stacked_biases(const StackNames& names, int64_t width, bool in_turn, std::vector<MlpSource>& all);
  void require_shape(const Stored& stored, const std::string& name);
  void add_scales(Stored& stored, const std::string& name);
  void refuse_form(const StackNames& names, const Stored& gate_up, const Stored& down, Dimension experts);
  const StoredTensor& take(const std::string& name);
  [[noreturn]] void refuse(const std::string& name, const std::string& got, const std::string& allowed,
                           const std::string& remedy = "download or write the file anew") const;

  Checkpoint& checkpoint_;
  std::set<std::string> used_;
};

}  // namespace moehill
