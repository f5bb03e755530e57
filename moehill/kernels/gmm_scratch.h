// Work space of one thread of our grouped GEMM.
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"

namespace moehill {

// A cache line of its own: the counts are written all the time.
struct alignas(64) GmmScratch {
  float* a = nullptr;                   // packed rows
  float* b = nullptr;                   // packed panels
  float* c = nullptr;                   // tiles of partial sums
  float* zeros = nullptr;               // a row of zeros, as long as the longest operand row
  const ThreadTeam* polling = nullptr;  // the team, for its member 0
  // Since it was made, products over columns alone: values packed, and blocks of B that strips have met.
  int64_t num_packed = 0, num_blocks = 0;

  // Between pieces of about a millisecond.
  void poll() const {
    if (polling != nullptr) polling->poll();
  }
};

}  // namespace moehill
