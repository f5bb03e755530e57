// Started: the arguments of a collective in split phase, noted by its start for its finish().
#pragma once

#include <cstdint>
#include <span>

namespace moehill {

struct Started {
  enum class Kind { none, all_gather, all_to_all };

  Kind kind = Kind::none;
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1], all_to_all only
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]
  size_t element_bytes = 0;

  const char* name() const { return kind == Kind::all_gather ? "all_gather" : "all_to_all"; }
};

}  // namespace moehill
