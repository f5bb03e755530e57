// A dense f32 product through OpenBLAS: the yardstick that the grouped GEMM is compared with.
#pragma once

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// c [m, n] = a [m, k] b [k, n], all f32 and tight. Each thread multiplies its share of the rows by one sgemm.
void dense_gemm(ThreadTeam& team, const MatView& a, const MatView& b, const MatView& c);

}  // namespace moehill
