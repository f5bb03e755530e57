// Rows in the form of a wire (tensor/wire.h). Row i begins wire_row_bytes() * i bytes after the first.
//
// A row of fp8_scales has a byte for each value, then an f32 for each block of kWireBlock columns: the scale,
// by which the values were divided. The scale is the smallest power of two that brings the block's largest
// finite magnitude to at most 448, which is e4m3's largest value. It is at least 2^-117, and 1 for a block of
// zeros. Quotients are rounded to the nearest value of e4m3, ties to the even one. So
//   - a value is off by at most 1/16 of itself, or by 2^-10 times the scale if that is more;
//   - what is read back has four significant bits and is no subnormal number, so that f32 and bf16 hold it
//     exactly; zeros keep their signs;
//   - a NaN stays a NaN and an infinity becomes one; both are quiet and keep their signs. The other columns
//     are what they would be with a zero in that place.
// Every SIMD target gives the same bits.
#pragma once

#include <span>

#include "moehill/base/partition.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/wire.h"

namespace moehill {

inline constexpr float kLargestFp8 = 448;
inline constexpr int kLeastWireScale = -117;  // its exponent

// Writes row index[i] of the source to row i of `out`, for i in `rows`. The source's scale must be 1, and no
// index may be -1.
void encode_rows(ThreadTeam& team, Wire wire, const RowSource& source, std::span<const Range> rows,
                 void* out);

// Writes row i of `in` to row i of out [rows, cols], for i in `rows`.
void decode_rows(ThreadTeam& team, Wire wire, const void* in, std::span<const Range> rows,
                 const MatView& out);

}  // namespace moehill
