// Tests every number format of checkpoints: each code against its definition, scales, slices and unaligned
// values.
#include "moehill/weights/source_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "moehill/weights/model_fixture.h"

namespace moehill {
namespace {

using namespace testing_models;

std::span<const std::byte> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

SourceMatrix whole(Encoding encoding, const std::string& bytes, int64_t rows, int64_t columns) {
  return {.encoding = encoding,
          .bytes = as_bytes(bytes),
          .stored_columns = columns,
          .rows = {0, 1, rows},
          .columns = {0, 1, columns}};
}

std::vector<float> row_of(const SourceMatrix& m, int64_t row) {
  std::vector<float> values(static_cast<size_t>(m.columns.count));
  decode_row(m, row, 0, m.columns.count, values.data());
  return values;
}

TEST(SourceMatrix, EveryCodeOfTheSmallTypesIsTheNumberOfItsDefinition) {
  std::string codes;
  for (int code = 0; code < 256; ++code) codes += static_cast<char>(code);
  const std::vector<float> f8 = row_of(whole(Encoding::f8_e4m3, codes, 1, 256), 0);
  for (int code = 0; code < 256; ++code) {
    if ((code & 127) == 127) {
      EXPECT_TRUE(std::isnan(f8[static_cast<size_t>(code)])) << code;
    } else {
      EXPECT_EQ(f8[static_cast<size_t>(code)], value_of_f8(code)) << code;
    }
  }
  EXPECT_EQ(f8[0x7e], 448);
  const std::vector<float> f4 = row_of(whole(Encoding::mxfp4, codes, 1, 512), 0);
  const std::vector<float> i4 = row_of(whole(Encoding::int4, codes, 1, 512), 0);
  for (int code = 0; code < 256; ++code) {
    const size_t at = 2 * static_cast<size_t>(code);
    EXPECT_EQ(f4[at], value_of_e2m1(code & 15));
    EXPECT_EQ(f4[at + 1], value_of_e2m1(code >> 4));
    EXPECT_EQ(i4[at], (code & 15) - 8);
    EXPECT_EQ(i4[at + 1], (code >> 4) - 8);
  }
}

TEST(SourceMatrix, EveryCodeOfTheHalfTypesIsTheNumberOfItsDefinition) {
  std::string codes;
  for (int code = 0; code < 65536; ++code) append(codes, static_cast<uint16_t>(code));
  const std::vector<float> f16 = row_of(whole(Encoding::f16, codes, 1, 65536), 0);
  const std::vector<float> b16 = row_of(whole(Encoding::bf16, codes, 1, 65536), 0);
  int num_finite = 0;
  for (int code = 0; code < 65536; ++code) {
    const float half = f16[static_cast<size_t>(code)], brain = b16[static_cast<size_t>(code)];
    const bool finite = (code >> 10 & 31) != 31;
    EXPECT_EQ(std::isfinite(half), finite) << code;
    EXPECT_EQ(std::isnan(half), !finite && (code & 1023) != 0) << code;
    if (finite) {
      EXPECT_EQ(half, value_of_f16(code)) << code;
    }
    if ((code >> 7 & 255) != 255) {
      EXPECT_EQ(brain, value_of_bf16(code)) << code;
    }
    num_finite += finite;
  }
  EXPECT_EQ(num_finite, 2 * 31 * 1024);
}

// 0x81 is the smallest negative number of f8, below the normal ones.
TEST(SourceMatrix, ScalesReachAsFarAsTheirBlocks) {
  std::string codes(size_t{130 * 260}, '\x38');  // 1
  SourceMatrix m = whole(Encoding::f8_e4m3, codes, 130, 260);
  std::string scales;
  for (int i = 1; i <= 6; ++i) append(scales, static_cast<float>(i));
  m.scales = {Scales::Type::f32, as_bytes(scales), 3, 128, 128};
  for (int64_t r = 0; r < 130; ++r) {
    const std::vector<float> row = row_of(m, r);
    for (int64_t c = 0; c < 260; ++c)
      ASSERT_EQ(row[static_cast<size_t>(c)], static_cast<float>(1 + r / 128 * 3 + c / 128)) << r << " " << c;
  }
  float part[3];
  decode_row(m, 0, 126, 3, part);
  EXPECT_EQ(part[0], 1);
  EXPECT_EQ(part[2], 2);
}

TEST(SourceMatrix, AnE8m0ScaleIsAPowerOfTwoAndItsLastCodeNoNumber) {
  const std::string codes(16, '\x22'), scales = {'\x7f', '\x00', '\xfe', '\xff'};  // 1
  SourceMatrix m = whole(Encoding::mxfp4, codes, 1, 32);
  for (int i = 0; i < 4; ++i) {
    m.scales = {Scales::Type::e8m0, as_bytes(scales).subspan(static_cast<size_t>(i)), 1, 1, 32};
    const float value = row_of(m, 0)[31];
    if (i == 0) {
      EXPECT_EQ(value, 1);
    }
    if (i == 1) {
      EXPECT_EQ(value, std::ldexp(1.0f, -127));
    }
    if (i == 2) {
      EXPECT_EQ(value, std::ldexp(1.0f, 127));
    }
    if (i == 3) {
      EXPECT_TRUE(std::isnan(value));
    }
  }
}

TEST(SourceMatrix, SlicesTakeEveryStepthRowAndColumn) {
  std::string codes;
  for (int i = 0; i < 6 * 8; ++i) append(codes, static_cast<float>(i));
  SourceMatrix m = whole(Encoding::f32, codes, 6, 8);
  m.rows = {1, 2, 3};
  m.columns = {4, 1, 4};
  EXPECT_EQ(row_of(m, 2), (std::vector<float>{44, 45, 46, 47}));
  m.columns = {1, 2, 4};
  EXPECT_EQ(row_of(m, 0), (std::vector<float>{9, 11, 13, 15}));
  std::string halves;
  for (int i = 0; i < 6 * 8; ++i) append(halves, static_cast<uint16_t>(i));
  SourceMatrix b = whole(Encoding::bf16, halves, 6, 8);
  b.columns = {1, 2, 4};
  uint16_t bits[2];
  copy_bf16_row(b, 1, 2, 2, bits);
  EXPECT_EQ(bits[0], 13);
  EXPECT_EQ(bits[1], 15);
}

// A header may have any length, so values may be at addresses that are no multiples of their size.
TEST(SourceMatrix, ValuesMayLieAnywhere) {
  std::string codes = "x";
  append(codes, 2.5f);
  SourceMatrix m = whole(Encoding::f32, codes, 1, 1);
  m.bytes = m.bytes.subspan(1);
  EXPECT_EQ(row_of(m, 0)[0], 2.5f);
}

}  // namespace
}  // namespace moehill
