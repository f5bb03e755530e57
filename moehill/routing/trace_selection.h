// TraceSelection says which part of a file of recorded routing is replayed. Its text is
// "FILE,layer=3,step=0,gates=FILE".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace moehill {

// TraceSelection names the file and the part. It does not open the file.
struct TraceSelection {
  std::string file;
  std::optional<int64_t> layer, step;  // not needed if the file has only one
  std::string gates;  // the file of the gate values, for .npy; empty: all of a token's experts get the same

  bool operator==(const TraceSelection&) const = default;
};

std::string to_string(const TraceSelection& selection);

// Reads such a text. The name of a file may contain commas, as long as none of the words above follows one.
// Throws InputError.
TraceSelection parse_trace_selection(const std::string& text);

}  // namespace moehill
