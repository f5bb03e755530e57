// flip_signs() negates rows in the type in which they are stored. It is for runs that need other tokens of
// the same magnitude (Run::negate_x).
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// The sign is the highest bit of an element, which is in its last byte.
inline void flip_signs(ThreadTeam& team, void* data, size_t bytes, DType dtype) {
  const size_t size = dtype_bytes(dtype);
  team.parallel_for(static_cast<int64_t>(bytes / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      static_cast<unsigned char*>(data)[(static_cast<size_t>(i) + 1) * size - 1] ^= 0x80;
  });
}

}  // namespace moehill
