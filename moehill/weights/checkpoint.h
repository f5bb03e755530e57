// Checkpoint has the tensors of a model by name, in one .safetensors file or in several shards with an index.
// It maps files and checks them, and converts nothing; matrix_reader.h finds out what a tensor means.
//
//   Checkpoint checkpoint("models/qwen");   // a folder, a file or an index
//   const StoredTensor& gate = checkpoint.tensor("model.layers.0.mlp.gate.weight");
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "moehill/weights/safetensors.h"

namespace moehill {

class Checkpoint {
 public:
  // `path` is a .safetensors file, an index (.json), or a folder with model.safetensors.index.json or a
  // single .safetensors file. A shard is opened when one of its tensors is asked for. Throws InputError.
  explicit Checkpoint(const std::string& path);

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return shard_of_.count(name) > 0; }
  // Returns a tensor; the reference is valid as long as the checkpoint. Throws InputError if there is no
  // tensor of that name.
  const StoredTensor& tensor(const std::string& name);
  // Calls visit(name) for every name that begins with `prefix`, in order.
  void visit_names(const std::string& prefix, const std::function<void(const std::string&)>& visit) const;

 private:
  void add_file(const std::string& path);
  void read_index(const std::string& path);

  std::string path_;
  std::map<std::string, std::string> shard_of_;  // the file of each tensor
  std::map<std::string, std::unique_ptr<SafetensorsFile>> files_;
};

}  // namespace moehill
