// Work space of one thread of our grouped GEMM.
#pragma once

#include <cstdint>

namespace moehill {

struct GmmScratch {
  float* a = nullptr;      // packed rows
  float* b = nullptr;      // packed panels
  float* c = nullptr;      // tiles of partial sums
  float* zeros = nullptr;  // a row of zeros, as long as the longest operand row
};

}  // namespace moehill
