// A checkpoint: the tensors of a model by name, in one .safetensors file or in shards with an index.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "moehill/weights/safetensors.h"

namespace moehill {

class Checkpoint {
 public:
  // A .safetensors file, an index (.json), or a folder that has model.safetensors.index.json or a single
  // .safetensors file. Throws InputError. Shards are opened when a tensor of theirs is asked for.
  explicit Checkpoint(const std::string& path);

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return shard_of_.count(name) > 0; }
  // Throws InputError if there is none of that name. It holds as long as the checkpoint.
  const StoredTensor& tensor(const std::string& name);
  // Every name in order, from `prefix` on as long as they begin with it.
  void visit_names(const std::string& prefix, const std::function<void(const std::string&)>& visit) const;

 private:
  void add_file(const std::string& path);
  void read_index(const std::string& path);

  std::string path_;
  std::map<std::string, std::string> shard_of_;  // file of each tensor
  std::map<std::string, std::unique_ptr<SafetensorsFile>> files_;
};

}  // namespace moehill
