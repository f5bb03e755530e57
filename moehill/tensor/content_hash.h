// This header hashes the bytes in memory, about as fast as memory can be read. The harness compares the
// results of two steps by it: equal hashes mean equal bits.
//
//   const uint64_t hash = content_hash(team, y.data, bytes);
#pragma once

#include <cstddef>
#include <cstdint>

#include "moehill/machine/thread_team.h"

namespace moehill {

// Returns the XXH3 (xxHash) of the XXH3 hashes of pieces of 1 MiB, which the threads share. The result
// depends only on the bytes, not on the number of threads.
uint64_t content_hash(ThreadTeam& team, const void* data, size_t bytes);

}  // namespace moehill
