// Rows in the form of a wire (tensor/wire.h), of which row i begins wire_row_bytes() * i bytes from the
// first.
//
// A row of fp8_scales is a byte a value, then an f32 for each kWireBlock columns: the scale, by which the
// values were divided. It is the smallest power of two that brings the largest finite magnitude of its block
// to 448 or below, which is e4m3's largest value, but at least 2^-117; 1 in a block of zeros. Quotients are
// rounded to the nearest value of e4m3, ties to the even one. So
//   - a value is off by at most 1/16 of itself, or by 2^-10 times the scale if that is more;
//   - what is read back has four significant bits and is no subnormal number, so that f32 and bf16 hold it
//     exactly; zeros keep their signs;
//   - a NaN stays one and an infinity becomes one, both quiet, with their signs; other columns are as they
//     would be with a zero in that place.
// The same bits on every SIMD target.
#pragma once

#include <span>

#include "moehill/base/partition.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/wire.h"

namespace moehill {

inline constexpr float kLargestFp8 = 448;
inline constexpr int kLeastWireScale = -117;  // its exponent

// Row i of `out` = row index[i] of the source, for i in `rows`. The source's scale is 1, and no index -1.
void encode_rows(ThreadTeam& team, Wire wire, const RowSource& source, std::span<const Range> rows,
                 void* out);

// Row i of out [rows, cols] = row i of `in`, for i in `rows`.
void decode_rows(ThreadTeam& team, Wire wire, const void* in, std::span<const Range> rows,
                 const MatView& out);

}  // namespace moehill
