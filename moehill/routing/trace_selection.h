// Which part of a file of recorded routing is replayed, and its text: "FILE,layer=3,step=0,gates=FILE".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace moehill {

struct TraceSelection {
  std::string file;
  std::optional<int64_t> layer, step;  // not needed where the file has one alone
  std::string gates;                   // of .npy: the file of the gate values; empty: all of a token's alike

  bool operator==(const TraceSelection&) const = default;
};

std::string to_string(const TraceSelection& selection);

// The inverse. A comma may be in the name of a file, as long as none of the words above follows it. Throws
// InputError.
TraceSelection parse_trace_selection(const std::string& text);

}  // namespace moehill
