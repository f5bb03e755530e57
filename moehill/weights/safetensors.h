// A .safetensors file: 8 bytes with the length of a header, the header in JSON, then the tensors' bytes.
//
// The header names each tensor with its type, its shape and its range of the bytes behind the header. What is
// read here follows the format's own rules (github.com/huggingface/safetensors): at most 100 MB of header,
// ranges that fill the file without gap or overlap, and lengths that are the product of shape and type. So
// nothing can be read that is not there, and nothing be in the file that no tensor has.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "moehill/weights/mapped_file.h"

namespace moehill {

struct StoredTensor {
  std::string dtype;           // as the file has it: BF16, F8_E4M3, U8
  std::vector<int64_t> shape;  // no dimension is negative; the product fits
  std::span<const std::byte> bytes;
};

class SafetensorsFile {
 public:
  // Throws InputError for what breaks a rule.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
};

std::string shape_text(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace moehill
