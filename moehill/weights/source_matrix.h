// A matrix as it lies in a file: how its values are written, which rows and columns of what is stored it has,
// and the scales of a quantized one.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "moehill/base/words.h"

namespace moehill {

// f8_e4m3: 4 bits of exponent, 3 of mantissa, no infinity. mxfp4: 1, 2 and 1 bits, two in a byte, the lower
// half first; 32 of a row share a power of two (OCP Microscaling Formats 1.0). int4: v - 8 in the same order,
// 32 of a row share a scale.
enum class Encoding { f32, bf16, f16, f8_e4m3, mxfp4, int4 };
constexpr auto words(Encoding) { return std::array{"f32", "bf16", "f16", "fp8_e4m3", "mxfp4", "int4"}; }

// Every step-th from `first` on.
struct Slice {
  int64_t first = 0, step = 1, count = 0;
  int64_t at(int64_t i) const { return first + i * step; }
};

struct Scales {
  enum class Type { none, f32, bf16, e8m0 };  // e8m0: 2^(v - 127), 255 is NaN
  Type type = Type::none;
  std::span<const std::byte> bytes;
  int64_t row_stride = 0;                     // scales
  int64_t block_rows = 1, block_columns = 1;  // stored values that share one
};

struct SourceMatrix {
  std::string name{};  // of the tensor, for errors
  Encoding encoding = Encoding::f32;
  std::span<const std::byte> bytes;  // of the whole stored matrix
  int64_t stored_columns = 0;
  Slice rows{}, columns{};  // columns of mxfp4 and int4: all of them
  Scales scales{};
  bool inputs_first =
      false;  // rows are the inputs of the product, columns its outputs; else the other way round
};

// Bytes of a stored row. Columns of mxfp4 and int4 are multiples of 32.
int64_t row_bytes(Encoding encoding, int64_t columns);

// Values of columns [begin, begin + count) of a row. A NaN stays one, and so does what a scale makes too
// large. begin is a multiple of 32.
//
// Errors: bf16, f16 and mxfp4 are exact in f32; so is int4 with a scale in bf16. f8_e4m3 and int4 with a
// scale in f32 are rounded once, by at most 2^-24 of a value.
void decode_row(const SourceMatrix& source, int64_t row, int64_t begin, int64_t count, float* out);

// The bits of those values where the encoding is bf16.
void copy_bf16_row(const SourceMatrix& source, int64_t row, int64_t begin, int64_t count, uint16_t* out);

}  // namespace moehill
