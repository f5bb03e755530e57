#include "moehill/tensor/content_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <vector>

namespace moehill {

uint64_t content_hash(ThreadTeam& team, const void* data, size_t bytes) {
  constexpr size_t kPiece = size_t{1} << 20;
  std::vector<uint64_t> hashes((bytes + kPiece - 1) / kPiece);
  team.parallel_for(static_cast<int64_t>(hashes.size()), [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const size_t at = i * kPiece;
      hashes[i] = XXH3_64bits(static_cast<const char*>(data) + at, std::min(kPiece, bytes - at));
    }
  });
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(uint64_t));
}

}  // namespace moehill
