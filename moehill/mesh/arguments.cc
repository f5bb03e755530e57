#include "moehill/mesh/arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/mesh/errors.h"

namespace moehill {

void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks) {
  if (static_cast<int>(offsets.size()) != num_ranks + 1) {
    throw CollectiveError(fmt::format("{}: got {} offsets for {} ranks, allowed: one more than ranks",
                                      collective, offsets.size(), num_ranks));
  }
  if (offsets.front() != 0 || !std::is_sorted(offsets.begin(), offsets.end())) {
    throw CollectiveError(fmt::format("{}: offsets must start at 0 and never fall, got {} to {}", collective,
                                      offsets.front(), offsets.back()));
  }
}

void check_count(const char* collective, int64_t n) {
  if (n < 0) throw CollectiveError(fmt::format("{}: got {} elements, allowed: 0 or more", collective, n));
}

}  // namespace moehill
