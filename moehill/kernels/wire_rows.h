// This header encodes rows into the form in which they travel between nodes (tensor/wire.h), and decodes
// them. It sends nothing. Row i begins wire_row_bytes() * i bytes after the first.
//
// A row of fp8_scales has one byte for each value, in the format e4m3, then one f32 for each block of
// kWireBlock columns: the scale by which the values were divided. The scale is the smallest power of two that
// brings the block's largest finite magnitude to at most 448, the largest value of e4m3. It is at least
// 2^-117, and 1 for a block of zeros. Quotients are rounded to the nearest value of e4m3, ties to even. It
// follows that
//   - a value is off by at most 1/16 of itself, or by 2^-10 times the scale if that is more;
//   - a decoded value has four significant bits and is no subnormal number, so f32 and bf16 hold it exactly;
//     zeros keep their signs;
//   - a NaN stays a NaN and an infinity becomes a NaN; both are quiet and keep their signs. The other columns
//     are encoded as if that value were zero.
// Every SIMD target gives the same bits.
//
//   encode_rows(team, Wire::fp8_scales, {x, index}, ranges, message);   // sender
//   decode_rows(team, Wire::fp8_scales, message, ranges, x_received);   // receiver
#pragma once

#include <span>

#include "moehill/base/partition.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/wire.h"

namespace moehill {

inline constexpr int kLeastWireScale = -117;  // the exponent of the smallest scale

// Writes row index[i] of the source to row i of `out`, for each i in `rows`. The source's scale must be 1,
// and no index may be -1.
void encode_rows(ThreadTeam& team, Wire wire, const RowSource& source, std::span<const Range> rows,
                 void* out);

// Writes row i of `in` to row i of out [rows, cols], for each i in `rows`.
void decode_rows(ThreadTeam& team, Wire wire, const void* in, std::span<const Range> rows,
                 const MatView& out);

}  // namespace moehill
