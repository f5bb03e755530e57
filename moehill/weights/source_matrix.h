// SourceMatrix is a matrix as it is stored in a file: how its values are encoded, which of the stored rows
// and columns belong to it, and the scales if it is quantised. It does not own the bytes.
//
//   std::vector<float> row(2048);
//   decode_row(matrix, 0, 0, 2048, row.data());
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "moehill/base/words.h"

namespace moehill {

// Encoding is the encoding of values. f8_e4m3: 4 bits of exponent, 3 of mantissa, no infinity. mxfp4: 1 sign
// bit, 2 of exponent, 1 of mantissa; two values in a byte, the lower half first; 32 values of a row share a
// power of two (OCP Microscaling Formats 1.0). int4: the value is code - 8, in the same order; 32 values of a
// row share a scale.
enum class Encoding { f32, bf16, f16, f8_e4m3, mxfp4, int4 };
constexpr auto words(Encoding) { return std::array{"f32", "bf16", "f16", "fp8_e4m3", "mxfp4", "int4"}; }

// Slice is every step-th row or column, from `first` on.
struct Slice {
  int64_t first = 0, step = 1, count = 0;
  int64_t at(int64_t i) const { return first + i * step; }
};

// Scales are the scales of a quantised matrix.
struct Scales {
  enum class Type { none, f32, bf16, e8m0 };  // e8m0: 2^(v - 127), 255 is NaN
  Type type = Type::none;
  std::span<const std::byte> bytes;
  int64_t row_stride = 0;                     // number of scales in a row of scales
  int64_t block_rows = 1, block_columns = 1;  // the block of stored values that share one
};

// SourceMatrix is a matrix in a file.
struct SourceMatrix {
  std::string name{};  // the tensor's name, for errors
  Encoding encoding = Encoding::f32;
  std::span<const std::byte> bytes;  // all of the stored matrix
  int64_t stored_columns = 0;
  Slice rows{}, columns{};  // columns of mxfp4 and int4 must be all stored columns
  Scales scales{};
  bool inputs_first =
      false;  // true: rows are the inputs of the product and columns its outputs; false: the other way round
};

// Returns the bytes of a stored row. Columns of mxfp4 and int4 are multiples of 32.
int64_t row_bytes(Encoding encoding, int64_t columns);

// Decodes columns [begin, begin + count) of a row. begin must be a multiple of 32. A NaN stays a NaN, and a
// value that its scale makes too large becomes infinite.
//
// The result is exact for bf16, f16 and mxfp4, and for int4 with scales in bf16. f8_e4m3, and int4 with
// scales in f32, are rounded once, by at most 2^-24 of the value.
void decode_row(const SourceMatrix& source, int64_t row, int64_t begin, int64_t count, float* out);

// Copies the bits of values as decode_row() would; the encoding must be bf16.
void copy_bf16_row(const SourceMatrix& source, int64_t row, int64_t begin, int64_t count, uint16_t* out);

}  // namespace moehill
