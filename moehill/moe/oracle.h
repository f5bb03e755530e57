// The oracle: the block in double precision, one token and one expert at a time, written for reading.
#pragma once

#include <vector>

#include "moehill/moe/tensors.h"

namespace moehill {

// All results in double, row-major: y, dx [T, H]; dw1, dw3 [E, H, M]; dw2 [E, M, H]; ds1, ds3 [H, S]; ds2 [S, H]; dp [T, k].
struct OracleResult {
  std::vector<double> y, dx, dw1, dw2, dw3, ds1, ds2, ds3, dp;
};

// Inputs are read from `tensors` (x, weights, routing, kept); its results are not looked at.
// With `dy_override` (row-major [T, H]) that dy is used in place of 2 y / (T H).
OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override, ThreadTeam& team);

}  // namespace moehill
