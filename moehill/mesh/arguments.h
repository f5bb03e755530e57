// Checks of what one rank passes to a collective, the same for every backend.
#pragma once

#include <cstdint>
#include <span>

namespace moehill {

// offsets: [num_ranks + 1], starting at 0 and never falling. Throws CollectiveError.
void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks);
void check_count(const char* collective, int64_t n);

}  // namespace moehill
