// Tests the dot tile by emulation on every CPU, and compares the CPU's own instruction with it, bit for bit.
#include "moehill/kernels/dot_tile.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/kernels/dot_emulation.h"
#include "moehill/tensor/dtype.h"

namespace moehill {
namespace {

uint32_t pair(float low, float high) {
  return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
}

TEST(EmulatedDot, AddsTheUpperProductFirstAndRoundsAfterEach) {
  EXPECT_EQ(emulated_dot(1, pair(2, 3), pair(5, 7)), 1 + 21 + 10);
  // 2^24 + 1 rounds back to 2^24: the upper product is added first and lost, and then the lower one is lost
  // too.
  EXPECT_EQ(emulated_dot(0x1p24f, pair(1, 1), pair(1, 1)), 0x1p24f);
  // With the upper product first, -2^24 + 2^24 = 0, plus 1. With the lower one first, the 1 would be lost.
  EXPECT_EQ(emulated_dot(0x1p24f, pair(1, -0x1p24f), pair(1, 1)), 1);
}

TEST(EmulatedDot, FlushesDenormals) {
  EXPECT_EQ(emulated_dot(0, pair(0x1p-127f, 0), pair(0x1p100f, 0)), 0) << "operand";
  EXPECT_EQ(emulated_dot(0x1p-127f, pair(1, 0), pair(1, 0)), 1) << "sum";
  EXPECT_EQ(emulated_dot(0, pair(0x1p-70f, 0), pair(0x1p-57f, 0)), 0) << "result";
  EXPECT_EQ(emulated_dot(0, pair(0x1p-70f, 0), pair(0x1p-56f, 0)), 0x1p-126f) << "the smallest that stays";
  // A product below the smallest normal number counts as long as the sum is normal.
  EXPECT_EQ(emulated_dot(0x1p-126f, pair(0x1p-70f, 0), pair(0x1p-70f, 0)), 0x1p-126f + 0x1p-140f);
}

// Operands of a call. If `wild`, they have bit patterns of every kind: all exponents, infinities and NaNs.
struct Operands {
  Operands(int64_t depth, bool wild, uint32_t seed) {
    uint64_t i = 0;
    const auto bits = [&] { return threefry(seed, Stream::kX, i++)[0]; };
    const auto tame = [&](uint32_t word) { return wild ? word : (word & 0x83ff83ffu) | 0x3c003c00u; };
    for (int64_t n = 0; n < depth * kDotRows; ++n) a.push_back(tame(bits()));
    for (int64_t n = 0; n < 2 * (depth + 1) * 16; ++n) b.push_back(tame(bits()));
    for (int64_t n = 0; n < 2 * kDotRows * 16; ++n) c.push_back(std::bit_cast<float>(tame(bits())));
  }
  std::vector<uint32_t> a, b;
  std::vector<float> c;
};

std::vector<float> run(const DotTile* tile, const Operands& operands, DotCall call, bool stream) {
  std::vector<float> c = operands.c;
  call.a = operands.a.data();
  call.b = operands.b.data();
  call.c = c.data();
  call.ahead = {call.b, 24, 3, -40};
  tile->sums(call, stream);
  return c;
}

// This returns the tile's sums as rows of a gradient, as f32 of their stored values; places that are not
// written are 9.
std::vector<float> run_gradient(const DotTile* tile, const Operands& operands, DotCall call, float scale) {
  std::vector<float> c = operands.c;
  call.a = operands.a.data();
  call.b = operands.b.data();
  call.c = c.data();
  std::vector<uint32_t> out(2 * 8 * 16, pair(9, 9));
  tile->gradient(call, {out.data(), 8 * 16, scale});
  EXPECT_TRUE(std::equal(c.begin(), c.end(), operands.c.begin(), [](float a, float b) {
    return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
  })) << "sums are only read";
  std::vector<float> values;
  for (const uint32_t word : out) {
    values.push_back(std::bit_cast<float>(word << 16));
    values.push_back(std::bit_cast<float>(word & 0xffff0000u));
  }
  return values;
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& expected,
                      const std::string& what) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(expected[i])) continue;  // any NaN equals any other
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i])) << what << " at " << i;
  }
}

// Tests every size of the tile, with operands and sums that do not touch each other.
template <typename Body>
void for_all_calls(const Body& body) {
  for (int rows = 1; rows <= kDotRows; ++rows) {
    for (const int panels : {1, 2}) {
      for (const int64_t depth : {0, 1, 2, 7, 40}) {
        for (const bool accumulate : {false, true}) {
          body(DotCall{rows, panels, nullptr, nullptr, (depth + 1) * 16, depth, nullptr, kDotRows * 16,
                       accumulate},
               fmt::format("{} rows {} panels depth {} {}", rows, panels, depth, accumulate));
        }
      }
    }
  }
}

TEST(DotTile, SumsWhatItShouldAndNothingElse) {
  for_all_calls([](const DotCall& call, const std::string& what) {
    const Operands operands(call.depth, false, 3);
    std::vector<float> expected = operands.c;
    for (int p = 0; p < call.panels; ++p) {
      for (int r = 0; r < call.rows; ++r) {
        for (int c = 0; c < 16; ++c) {
          float& sum = expected[static_cast<size_t>(p * call.c_stride + r * 16 + c)];
          if (!call.accumulate) sum = 0;
          for (int64_t d = 0; d < call.depth; ++d) {
            sum = emulated_dot(sum, operands.a[static_cast<size_t>(d * call.rows + r)],
                               operands.b[static_cast<size_t>(p * call.b_stride + d * 16 + c)]);
          }
        }
      }
    }
    for (const bool stream : {false, true})
      expect_same_bits(run(kEmulatedDotTile, operands, call, stream), expected, what);
  });
}

TEST(DotTile, TheCpusInstructionGivesTheSameBits) {
  const DotTile* tile = avx512_dot_tile();
  if (tile == nullptr) GTEST_SKIP() << "this CPU or system has no AVX512_BF16";
  uint32_t seed = 0;
  for_all_calls([&](const DotCall& call, const std::string& what) {
    for (const bool wild : {false, true}) {
      const Operands operands(call.depth, wild, ++seed);
      const std::vector<float> expected = run(kEmulatedDotTile, operands, call, false);
      for (const bool stream : {false, true})
        expect_same_bits(run(tile, operands, call, stream), expected, what);
      expect_same_bits(run_gradient(tile, operands, call, 0.75f),
                       run_gradient(kEmulatedDotTile, operands, call, 0.75f), what);
    }
  });
}

// Flipped products of one and two copies of each row, over squares and parts of their depth.
template <typename Body>
void for_all_flipped_calls(const Body& body) {
  for (const int copies : {1, 2}) {
    for (const int steps : {1, 5, 8}) {
      for (const bool accumulate : {false, true}) {
        body(FlippedCall<uint32_t>{nullptr, 2, {16, copies}, nullptr, steps, nullptr, accumulate, nullptr},
             fmt::format("{} copies {} steps {}", copies, steps, accumulate));
      }
    }
  }
}

TEST(DotTile, FlippedSumsAreOfRowsOfTheWeightsByRows) {
  for_all_flipped_calls([](FlippedCall<uint32_t> call, const std::string& what) {
    const Operands operands(40, false, 7);
    std::vector<float> got(600, 9), expected = got;
    call.squares = operands.b.data();
    call.ahead = reinterpret_cast<const char*>(call.squares);
    call.rows = operands.a.data();
    call.sums = got.data();
    const int sums = num_sums(call.shape);
    for (int i = 0; i < call.count * sums; ++i) {
      const int square = i / sums, lane = i % 16, vector = i % sums / 16;
      const int k = vector * call.shape.copies + lane % call.shape.copies;
      EXPECT_EQ(sum_place(call.shape, k, lane / call.shape.copies), i % sums);
      float& sum = expected[static_cast<size_t>(i)];
      if (!call.accumulate) sum = 0;
      for (int d = 0; d < call.steps; ++d) {
        sum = emulated_dot(sum, operands.b[static_cast<size_t>(square * 128 + k / 2 * 16 + k % 2 + 2 * d)],
                           operands.a[static_cast<size_t>(d * 16 + lane)]);
      }
    }
    kEmulatedDotTile->flipped(call);
    expect_same_bits(got, expected, what);
  });
}

TEST(DotTile, TheCpusFlippedProductsHaveTheSameBits) {
  const DotTile* tile = avx512_dot_tile();
  if (tile == nullptr) GTEST_SKIP() << "this CPU or system has no AVX512_BF16";
  for_all_flipped_calls([&](FlippedCall<uint32_t> call, const std::string& what) {
    for (const bool wild : {false, true}) {
      const Operands operands(40, wild, 9);
      std::vector<float> emulated(600, 9), got = emulated;
      call.squares = operands.b.data();
      call.ahead = reinterpret_cast<const char*>(call.squares);
      call.rows = operands.a.data();
      call.sums = emulated.data();
      kEmulatedDotTile->flipped(call);
      call.sums = got.data();
      tile->flipped(call);
      expect_same_bits(got, emulated, what);
    }
  });
}

TEST(DotTile, AGradientIsTheSumsTimesAFactorInPairsOfRows) {
  for_all_calls([](const DotCall& call, const std::string& what) {
    const Operands operands(call.depth, false, 5);
    const std::vector<float> sums = run(kEmulatedDotTile, operands, call, false);
    std::vector<float> expected(2 * 2 * 8 * 16, 9);
    for (int p = 0; p < call.panels; ++p) {
      for (int r = 0; r < (call.rows + 1) / 2 * 2; ++r) {
        for (int c = 0; c < 16; ++c) {
          const float sum = r < call.rows ? sums[static_cast<size_t>(p * call.c_stride + r * 16 + c)] : 0;
          expected[static_cast<size_t>((p * 8 + r / 2) * 32 + 2 * c + r % 2)] = to_f32(to_bf16(0.5f * sum));
        }
      }
    }
    expect_same_bits(run_gradient(kEmulatedDotTile, operands, call, 0.5f), expected, what);
  });
}

}  // namespace
}  // namespace moehill
