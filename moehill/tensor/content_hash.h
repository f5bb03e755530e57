// A hash of what memory holds, at the speed of reading it: by which the results of two steps are compared.
#pragma once

#include <cstddef>
#include <cstdint>

#include "moehill/machine/thread_team.h"

namespace moehill {

// XXH3 (xxHash) over the XXH3 hashes of pieces of 1 MiB, which the threads share. It depends on the bytes
// alone, not on the size of the team.
uint64_t content_hash(ThreadTeam& team, const void* data, size_t bytes);

}  // namespace moehill
