// GmmScratch is the work space of one thread of this library's grouped GEMM. It does not own its memory; Gmm
// (gmm.cc) does.
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"

namespace moehill {

// Each GmmScratch has cache lines of its own, because its thread writes the counts all the time, which would
// slow down threads with data in the same line.
struct alignas(64) GmmScratch {
  float* a = nullptr;      // packed rows
  float* b = nullptr;      // packed panels
  float* c = nullptr;      // tiles of partial sums
  float* zeros = nullptr;  // a row of zeros, as long as the longest operand row
  // The team, in the first thread's scratch only, so that only member 0 polls.
  const ThreadTeam* polling = nullptr;
  // Work counted since the object was made, for products over columns only: values packed, and blocks of B
  // that strips have met.
  int64_t num_packed = 0, num_blocks = 0;

  // The loops call it between pieces of work of about a millisecond.
  void poll() const {
    if (polling != nullptr) polling->poll();
  }
};

}  // namespace moehill
