// Compares rows in the form of a wire with the definition: the scale by search, the code by comparison with
// every value of e4m3; on every SIMD target, for odd widths, with NaN, infinities, subnormal numbers and
// zeros.
#include "moehill/kernels/wire_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/kernels/simd.h"
#include "moehill/tensor/matrix.h"

namespace moehill {
namespace {

constexpr float kLargestFp8 = 448;  // of e4m3

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

// Returns the magnitude of a code below 0x7f: it has a sign, four bits of exponent with bias 7, and three of
// mantissa.
double value_of(int code) {
  const int exponent = code >> 3, mantissa = code & 7;
  return exponent == 0 ? mantissa * std::exp2(-9) : (1 + mantissa / 8.0) * std::exp2(exponent - 7);
}

double scale_of(const std::vector<float>& block) {
  double largest = 0;
  for (const float v : block) largest = std::isfinite(v) ? std::max(largest, std::abs(double{v})) : largest;
  if (largest == 0) return 1;
  int exponent = kLeastWireScale;
  while (largest > double{kLargestFp8} * std::exp2(exponent)) ++exponent;
  return std::exp2(exponent);
}

uint8_t code_of(float value, double scale) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (!std::isfinite(value)) return sign | 0x7f;
  const double quotient = std::abs(double{value}) / scale;
  int best = 0;
  for (int code = 1; code < 0x7f; ++code) {
    const double off = std::abs(quotient - value_of(code)), least = std::abs(quotient - value_of(best));
    if (off < least || (off == least && code % 2 == 0)) best = code;
  }
  return static_cast<uint8_t>(sign | best);
}

uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

// Returns the decoded value of a number that is exactly a power of two times a value of e4m3.
float expected_value(uint8_t code, double scale) {
  if ((code & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fc00000u | (code & 0x80u) << 24);
  return static_cast<float>(std::copysign(value_of(code & 0x7f) * scale, (code & 0x80) != 0 ? -1.0 : 1.0));
}

// Encodes rows as `dtype`, and compares the bytes and the decoded rows, on every target.
void expect_defined(const std::vector<std::vector<float>>& rows, DType dtype) {
  const int64_t n = std::ssize(rows), cols = std::ssize(rows.front());
  const int64_t row_bytes = wire_row_bytes(Wire::fp8_scales, cols, dtype);
  Matrix in(n, cols, dtype), out(n, cols, dtype);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < cols; ++c)
      in.view().set(r, c, rows[static_cast<size_t>(r)][static_cast<size_t>(c)]);
  }
  ThreadTeam team(2);
  const std::vector<Range> all = {{0, n}};
  for (const std::string& target : simd_targets()) {
    select_simd_target(target);
    std::vector<uint8_t> wire(static_cast<size_t>(n * row_bytes), 0xab);
    encode_rows(team, Wire::fp8_scales, {in}, all, wire.data());
    decode_rows(team, Wire::fp8_scales, wire.data(), all, out.view());
    for (int64_t r = 0; r < n; ++r) {
      const uint8_t* const row = wire.data() + r * row_bytes;
      for (int64_t block = 0; block < num_wire_blocks(cols); ++block) {
        std::vector<float> values;
        for (int64_t c = block * kWireBlock; c < std::min(cols, (block + 1) * kWireBlock); ++c)
          values.push_back(in.view().at(r, c));
        const double scale = scale_of(values);
        float stored;
        std::memcpy(&stored, row + cols + block * 4, sizeof stored);
        ASSERT_EQ(double{stored}, scale) << target << " row " << r << " block " << block;
        for (size_t i = 0; i < values.size(); ++i) {
          const int64_t c = block * kWireBlock + static_cast<int64_t>(i);
          ASSERT_EQ(row[c], code_of(values[i], scale))
              << target << " row " << r << " column " << c << ": " << values[i] << " over " << scale;
          ASSERT_EQ(bits_of(out.view().at(r, c)), bits_of(expected_value(row[c], scale)))
              << target << " row " << r << " column " << c;
        }
      }
    }
  }
  select_simd_target("");
}

std::vector<float> drawn_row(int64_t cols, uint32_t seed, int spread) {
  std::vector<float> row;
  for (int64_t c = 0; c < cols; ++c) {
    const double u = random_uniform(seed, Stream::kSampleRows, static_cast<uint64_t>(2 * c)),
                 v = random_uniform(seed, Stream::kSampleRows, static_cast<uint64_t>(2 * c + 1));
    row.push_back(static_cast<float>((2 * u - 1) * std::exp2(std::floor(spread * (v - 0.5)))));
  }
  return row;
}

TEST(WireRows, AreDefinedInEveryWidth) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t cols : {1, 2, 7, 8, 9, 45, 127, 128, 129, 255, 257, 300}) {
      std::vector<std::vector<float>> rows;
      // The widest spread of values exceeds the range of e4m3, so that some values vanish.
      for (const int spread : {1, 8, 40, 250})
        rows.push_back(drawn_row(cols, static_cast<uint32_t>(cols), spread));
      expect_defined(rows, dtype);
    }
  }
}

// These values lie in the middle between two values of e4m3, at the edges of binades, and where the scale
// changes.
TEST(WireRows, RoundHalvesToEvenAndUseTheWholeRange) {
  std::vector<float> ties, edges;
  for (int code = 0; code < 0x7e; ++code)
    ties.push_back(static_cast<float>((value_of(code) + value_of(code + 1)) / 2));
  ties.push_back(kLargestFp8);
  for (const float largest : {448.0f, std::nextafter(448.0f, 449.0f), 447.0f, 256.0f, 512.0f, 1.0f, 1.75f,
                              std::nextafter(1.75f, 2.0f)})
    edges.push_back(largest);
  std::vector<std::vector<float>> rows;
  for (const float edge : edges) {
    std::vector<float> row = ties;
    row.back() = edge;
    rows.push_back(row);
  }
  expect_defined(rows, DType::f32);
}

TEST(WireRows, SayWhatBecomesOfNanInfinitiesSubnormalsAndZeros) {
  const float least = std::numeric_limits<float>::denorm_min(), normal = std::numeric_limits<float>::min(),
              most = std::numeric_limits<float>::max();
  std::vector<std::vector<float>> rows(9, std::vector<float>(150, 0.0f));
  for (float& v : rows[1]) v = -0.0f;
  rows[2] = {drawn_row(150, 3, 4)};
  rows[2][3] = kNan, rows[2][130] = -kNan, rows[2][149] = kInfinity, rows[2][0] = -kInfinity;
  for (float& v : rows[3]) v = kNan;
  for (size_t i = 0; i < 150; ++i) rows[4][i] = least * static_cast<float>(i);
  for (size_t i = 0; i < 150; ++i) rows[5][i] = normal * static_cast<float>(i);
  for (size_t i = 0; i < 150; ++i) rows[6][i] = -most / static_cast<float>(i + 1);
  rows[7][5] = most, rows[7][6] = least, rows[7][140] = std::exp2(-117.0f) * 448;
  for (size_t i = 0; i < 150; ++i) rows[8][i] = std::exp2(-117.0f - 10) * static_cast<float>(i) / 4;
  expect_defined(rows, DType::f32);
  expect_defined(rows, DType::bf16);
}

// A block's error is at most 1/16 of each value, or half a step of its smallest ones.
TEST(WireRows, AreOffByASixteenthAtMost) {
  const int64_t cols = 4096;
  Matrix in(1, cols, DType::f32), out(1, cols, DType::f32);
  const std::vector<float> row = drawn_row(cols, 5, 12);
  for (int64_t c = 0; c < cols; ++c) in.view().set(0, c, row[static_cast<size_t>(c)]);
  std::vector<uint8_t> wire(static_cast<size_t>(wire_row_bytes(Wire::fp8_scales, cols, DType::f32)));
  ThreadTeam team(1);
  const std::vector<Range> all = {{0, 1}};
  encode_rows(team, Wire::fp8_scales, {in}, all, wire.data());
  decode_rows(team, Wire::fp8_scales, wire.data(), all, out.view());
  double squares = 0, of_values = 0;
  for (int64_t c = 0; c < cols; ++c) {
    float scale;
    std::memcpy(&scale, wire.data() + cols + c / kWireBlock * 4, sizeof scale);
    const double value = in.view().at(0, c), off = std::abs(out.view().at(0, c) - value);
    ASSERT_LE(off, std::max(std::abs(value) / 16, scale * 0x1p-10)) << c;
    squares += off * off, of_values += value * value;
  }
  EXPECT_LT(std::sqrt(squares / of_values), 0.035);
  EXPECT_GT(std::sqrt(squares / of_values), 0.01);
}

// Rows go where they belong and other rows stay; an index is followed, and the size of the team changes
// nothing.
TEST(WireRows, FollowTheIndexAndLeaveOtherRowsAlone) {
  const int64_t cols = 45;
  for (const Wire wire : {Wire::bf16, Wire::fp8_scales}) {
    const int64_t row_bytes = wire_row_bytes(wire, cols, DType::f32);
    Matrix in(5, cols, DType::f32);
    for (int64_t r = 0; r < 5; ++r) {
      const std::vector<float> row = drawn_row(cols, static_cast<uint32_t>(r), 6);
      for (int64_t c = 0; c < cols; ++c) in.view().set(r, c, row[static_cast<size_t>(c)]);
    }
    const std::vector<int32_t> index = {4, 0, 0, 3, 2, 1, 4};
    const std::vector<Range> some = {{0, 2}, {2, 2}, {4, 7}};
    std::vector<uint8_t> first;
    for (const int threads : {1, 3}) {
      ThreadTeam team(threads);
      std::vector<uint8_t> bytes(static_cast<size_t>(7 * row_bytes), 0xab);
      encode_rows(team, wire, {in, index.data()}, some, bytes.data());
      for (int64_t i = 2 * row_bytes; i < 4 * row_bytes; ++i) ASSERT_EQ(bytes[static_cast<size_t>(i)], 0xab);
      Matrix out(7, cols, DType::f32);
      for (int64_t c = 0; c < cols; ++c) out.view().set(3, c, 7);
      decode_rows(team, wire, bytes.data(), some, out.view());
      for (int64_t c = 0; c < cols; ++c) {
        EXPECT_EQ(out.view().at(3, c), 7);
        EXPECT_NEAR(out.view().at(6, c), in.view().at(4, c), std::abs(in.view().at(4, c)) / 16 + 0.01);
      }
      const float exact = in.view().at(4, 7), rounded = to_f32(to_bf16(exact));
      if (wire == Wire::bf16) {
        EXPECT_EQ(bits_of(out.view().at(0, 7)), bits_of(rounded));
      }
      if (first.empty()) first = bytes;
      EXPECT_EQ(bytes, first);
    }
  }
}

}  // namespace
}  // namespace moehill
