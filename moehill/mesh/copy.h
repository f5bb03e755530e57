// Copies of segments from many places into one array: the data movement of all_gather and all_to_all.
#pragma once

#include <cstdint>
#include <span>

#include "moehill/machine/thread_team.h"

namespace moehill {

// Elements [offsets[r], offsets[r + 1]) of `output` come from sources[r]; one already in its place stays.
struct CopyJob {
  std::span<const void* const> sources;  // [ranks]
  std::span<const int64_t> offsets;      // [ranks + 1]
  size_t element_bytes = 1;
  void* output = nullptr;
};

void team_copy(ThreadTeam& team, const CopyJob& job);

}  // namespace moehill
