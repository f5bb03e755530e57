// SafetensorsFile reads a .safetensors file: 8 bytes with the length of a header, the header in JSON, then
// the bytes of the tensors. It decodes no values.
//
//   const SafetensorsFile file("model.safetensors");
//   const StoredTensor& gate = file.tensors().at("model.layers.0.mlp.gate.weight");
//
// The header gives for each tensor its type, its shape and its range of the bytes behind the header.
// SafetensorsFile checks the rules of the format (github.com/huggingface/safetensors): a header of at most
// 100 MB, ranges that fill the file without gaps or overlaps, and lengths that follow from shape and type. So
// a file cannot make the program read outside of the file, or hide bytes that belong to no tensor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "moehill/weights/mapped_file.h"

namespace moehill {

// StoredTensor is one tensor of a file. Its bytes are valid as long as the SafetensorsFile.
struct StoredTensor {
  std::string dtype;           // as the file spells it: BF16, F8_E4M3, U8
  std::vector<int64_t> shape;  // not negative; the number of elements fits 64 bits
  std::span<const std::byte> bytes;
};

// SafetensorsFile is a mapped file with its tensors by name.
class SafetensorsFile {
 public:
  // Throws InputError for a file that breaks a rule.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
};

std::string shape_text(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace moehill
