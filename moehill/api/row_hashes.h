// This header hashes rows. Each process hashes its own rows, and the first process joins the hashes to one
// hash of all rows, so that no rows have to travel.
//
//     std::string hashes;
//     append_hashes(y, own_tokens, hashes);            // 8 bytes for each row
//     output = join_hashes(output, hashes);            // process by process
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "moehill/base/hash.h"
#include "moehill/base/partition.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// Appends the hash of the bits of each of these rows.
inline void append_hashes(const MatView& m, Range rows, std::string& hashes) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    uint64_t hash = kFnvStart;
    for (int64_t c = 0; c < m.cols; ++c) {
      const uint32_t bits =
          m.dtype == DType::f32 ? std::bit_cast<uint32_t>(m.row<float>(r)[c]) : m.row<bf16>(r)[c].bits;
      hash = fnv1a(hash, bits);
    }
    hashes.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
  }
}

inline uint64_t join_hashes(uint64_t hash, const std::string& hashes) {
  for (size_t i = 0; i < hashes.size(); i += sizeof(uint64_t)) {
    uint64_t of_row;
    std::memcpy(&of_row, hashes.data() + i, sizeof(of_row));
    hash = fnv1a(hash, of_row);
  }
  return hash;
}

}  // namespace moehill
