// This file decodes the encodings of source_matrix.h. Loops are plain, so that the compiler makes vectors of
// them; tables replace arithmetic where a code has at most eight bits.
#include "moehill/weights/source_matrix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// Reads a value at any address, since tensors in a file need not be aligned.
template <typename T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

float from_bf16_bits(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Moves the fields of an f16 to the fields of an f32. The exponents have different biases; multiplying by
// 2^112 corrects that, and is right for subnormal values too.
float from_f16_bits(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  const uint32_t infinity = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value) | infinity);
}

float from_f8_bits(uint8_t bits) {
  const uint32_t sign = (bits & 0x80u) << 24, magnitude = bits & 0x7fu;
  const uint32_t nan = magnitude == 0x7fu ? 0x7fc00000u : 0u;
  const float value = std::bit_cast<float>(magnitude << 20) * 0x1p120f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value) | nan);
}

// Returns the value of each byte. Looking it up is faster than computing it.
std::array<float, 256> f8_values() {
  std::array<float, 256> values;
  for (size_t byte = 0; byte < values.size(); ++byte) values[byte] = from_f8_bits(static_cast<uint8_t>(byte));
  return values;
}

constexpr float kE2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

float scale_at(const Scales& scales, int64_t row, int64_t column) {
  const int64_t i = row / scales.block_rows * scales.row_stride + column / scales.block_columns;
  const std::byte* data = scales.bytes.data();
  switch (scales.type) {
    case Scales::Type::f32:
      return read<float>(data + 4 * i);
    case Scales::Type::bf16:
      return from_bf16_bits(read<uint16_t>(data + 2 * i));
    case Scales::Type::e8m0: {
      const int exponent = std::to_integer<int>(data[i]);
      return exponent == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, exponent - 127);
    }
    case Scales::Type::none:
      break;
  }
  return 1;
}

// Decodes types that have a whole number of bytes for each value.
template <typename Bits, typename Convert>
void decode_plain(const std::byte* row, const Slice& columns, int64_t begin, int64_t count, float* out,
                  const Convert& convert) {
  if (columns.step == 1) {
    const std::byte* from = row + columns.at(begin) * static_cast<int64_t>(sizeof(Bits));
    for (int64_t i = 0; i < count; ++i)
      out[i] = convert(read<Bits>(from + i * static_cast<int64_t>(sizeof(Bits))));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    out[i] = convert(read<Bits>(row + columns.at(begin + i) * static_cast<int64_t>(sizeof(Bits))));
}

// The two values of each byte; the lower half comes first.
using NibblePairs = std::array<std::array<float, 2>, 256>;

template <typename Convert>
NibblePairs pairs_of(const Convert& convert) {
  NibblePairs pairs;
  for (int byte = 0; byte < 256; ++byte)
    pairs[static_cast<size_t>(byte)] = {convert(byte & 15), convert(byte >> 4)};
  return pairs;
}

void decode_nibbles(const std::byte* row, int64_t begin, int64_t count, float* out,
                    const NibblePairs& pairs) {
  const std::byte* from = row + begin / 2;
  const auto pair = [&](int64_t i) -> const std::array<float, 2>& {
    return pairs[std::to_integer<size_t>(from[i])];
  };
  for (int64_t i = 0; i < count / 2; ++i) std::memcpy(out + 2 * i, pair(i).data(), 2 * sizeof(float));
  if (count % 2 != 0) out[count - 1] = pair(count / 2)[0];
}

void multiply_by_scales(const SourceMatrix& m, int64_t row, int64_t begin, int64_t count, float* out) {
  const int64_t stored_row = m.rows.at(row);
  for (int64_t i = 0; i < count;) {
    const int64_t column = m.columns.at(begin + i);
    const float scale = scale_at(m.scales, stored_row, column);
    // One scale holds up to the end of its block of columns.
    const int64_t left = m.scales.block_columns - column % m.scales.block_columns;
    const int64_t end = std::min(count, i + (left + m.columns.step - 1) / m.columns.step);
    for (; i < end; ++i) out[i] *= scale;
  }
}

}  // namespace

int64_t row_bytes(Encoding encoding, int64_t columns) {
  switch (encoding) {
    case Encoding::f32:
      return 4 * columns;
    case Encoding::bf16:
    case Encoding::f16:
      return 2 * columns;
    case Encoding::f8_e4m3:
      return columns;
    case Encoding::mxfp4:
    case Encoding::int4:
      break;
  }
  return columns / 2;
}

void decode_row(const SourceMatrix& m, int64_t row, int64_t begin, int64_t count, float* out) {
  const std::byte* data = m.bytes.data() + m.rows.at(row) * row_bytes(m.encoding, m.stored_columns);
  switch (m.encoding) {
    case Encoding::f32:
      decode_plain<float>(data, m.columns, begin, count, out, [](float value) { return value; });
      break;
    case Encoding::bf16:
      decode_plain<uint16_t>(data, m.columns, begin, count, out, from_bf16_bits);
      break;
    case Encoding::f16:
      decode_plain<uint16_t>(data, m.columns, begin, count, out, from_f16_bits);
      break;
    case Encoding::f8_e4m3: {
      static const std::array<float, 256> values = f8_values();
      decode_plain<uint8_t>(data, m.columns, begin, count, out, [](uint8_t byte) { return values[byte]; });
      break;
    }
    // Two codes of four bits share a byte. A table for each byte gives both values.
    case Encoding::mxfp4: {
      static const NibblePairs pairs = pairs_of([](int nibble) { return kE2m1[nibble]; });
      decode_nibbles(data, begin, count, out, pairs);
      break;
    }
    case Encoding::int4: {
      static const NibblePairs pairs = pairs_of([](int nibble) { return static_cast<float>(nibble - 8); });
      decode_nibbles(data, begin, count, out, pairs);
      break;
    }
  }
  if (m.scales.type != Scales::Type::none) multiply_by_scales(m, row, begin, count, out);
}

void copy_bf16_row(const SourceMatrix& m, int64_t row, int64_t begin, int64_t count, uint16_t* out) {
  const std::byte* data = m.bytes.data() + m.rows.at(row) * row_bytes(m.encoding, m.stored_columns);
  if (m.columns.step == 1) {
    std::memcpy(out, data + 2 * m.columns.at(begin), 2 * static_cast<size_t>(count));
    return;
  }
  for (int64_t i = 0; i < count; ++i) out[i] = read<uint16_t>(data + 2 * m.columns.at(begin + i));
}

}  // namespace moehill
