// MatrixReader finds matrices of a checkpoint by the names of Hugging Face models. It finds out how a matrix
// is encoded, and checks its shape against the block's. It decodes no values; source_matrix.h does.
//
//   MatrixReader reader(checkpoint);
//   const SourceMatrix gate = reader.matrix("model.layers.3.mlp.gate", {128, "--experts"}, {2048,
//   "--hidden"});
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "moehill/weights/checkpoint.h"
#include "moehill/weights/source_matrix.h"

namespace moehill {

// Dimension is a dimension that the block asks for, the option that sets it (for messages), and how often a
// tensor has it side by side.
struct Dimension {
  int64_t size = 0;
  const char* option = "";
  int64_t times = 1;
  int64_t stored() const { return size * times; }
};

// MlpSource has the matrices of an expert as they are in a file: gate [M, H], up [M, H] and down [H, M], and
// biases [1, M], [1, M] and [1, H]. An expert without a gate has its only up matrix [M, H] as `gate`. A part
// that is missing has no bytes.
struct MlpSource {
  SourceMatrix gate, up, down;
  SourceMatrix gate_bias{}, up_bias{}, down_bias{};
};

// MlpForm says which parts the experts of a block have.
struct MlpForm {
  bool gated = true, biases = false;
};

// StackNames are the names of two tensors that hold all experts.
struct StackNames {
  std::string gate_up, down;
};

// Every function of MatrixReader throws InputError if a tensor is missing, or has another shape or an unknown
// type.
class MatrixReader {
 public:
  explicit MatrixReader(Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // Returns the matrix [outputs, inputs] with this base name, such as
  // "model.layers.3.mlp.experts.17.up_proj".
  SourceMatrix matrix(const std::string& base, Dimension outputs, Dimension inputs);

  // Returns a vector [1, n], stored with one or two dimensions in a plain type.
  SourceMatrix vector(const std::string& name, Dimension n);

  // Returns the matrices behind a prefix such as "model.layers.3.mlp.experts.17.". There are three, or two if
  // gate and up are one matrix whose first half is the gate. Returns nothing if the checkpoint has no such
  // names.
  std::optional<MlpSource> mlp(const std::string& base, Dimension hidden, Dimension width, MlpForm form);

  // Returns all experts of two stacks, [E, 2M, H] and [E, H, M], or [E, H, 2M] and [E, M, H]. Rows of gate
  // and up alternate in the form of gpt-oss, which is recognised by its biases or blocks; otherwise the
  // gate's rows come first.
  std::vector<MlpSource> stacks(const StackNames& names, Dimension experts, Dimension hidden, Dimension width,
                                MlpForm form);

  bool has_tensor(const std::string& name) const { return checkpoint_.has(name); }
  bool has(const std::string& base) const;  // true for any of the names that a matrix or a stack may have
  const std::set<std::string>& used() const { return used_; }  // the names of all tensors that were read

 private:
  // Stored is a tensor with its scales. For a stack it has the bytes and scales of all experts.
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
