// Tests the AMX tile by emulation on every CPU, and compares the CPU's own instructions with it, bit for bit.
#include "moehill/kernels/amx_tile.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/kernels/dot_emulation.h"

namespace moehill {
namespace {

using Call = TileCall<uint32_t, uint32_t>;

int64_t blocks(int64_t depth) { return (depth + kAmxSteps - 1) / kAmxSteps; }

// Fills with bit patterns of every kind if `wild`, otherwise with numbers between 2^-8 and 1.
struct TileOperands {
  TileOperands(int64_t depth, bool wild, uint32_t seed) {
    uint64_t i = 0;
    const auto bits = [&] {
      const uint32_t word = threefry(seed, Stream::kX, i++)[0];
      return wild ? word : (word & 0x83ff83ffu) | 0x3c003c00u;
    };
    for (int64_t n = 0; n < blocks(depth) * kAmxSteps * kAmxRows; ++n) a.push_back(bits());
    for (int64_t n = 0; n < 2 * (depth + 1) * 16; ++n) b.push_back(bits());
    for (int64_t n = 0; n < 2 * kAmxRows * 16; ++n) c.push_back(std::bit_cast<float>(bits()));
  }
  std::vector<uint32_t> a, b;
  std::vector<float> c;
};

std::vector<float> run(const AmxTile* tile, const TileOperands& operands, Call call, bool stream) {
  std::vector<float> c = operands.c;
  call.a = operands.a.data();
  call.b = operands.b.data();
  call.c = c.data();
  call.ahead = {call.b, 24, 3, -40};
  const AmxScope registers(*tile);
  tile->sums(call, stream);
  return c;
}

// Returns the sums of the first call.rows rows of each panel, in the order of additions that the CPU's manual
// states.
std::vector<float> expected_sums(const TileOperands& operands, const Call& call) {
  std::vector<float> expected;
  for (int p = 0; p < call.panels; ++p) {
    for (int r = 0; r < call.rows; ++r) {
      for (int c = 0; c < 16; ++c) {
        float sum = call.accumulate ? operands.c[static_cast<size_t>(p * call.c_stride + r * 16 + c)] : 0;
        for (int64_t begin = 0; begin < call.depth; begin += kAmxSteps) {
          float low = 0, high = 0;
          for (int64_t d = begin; d < std::min(call.depth, begin + kAmxSteps); ++d) {
            const uint32_t a = operands.a[static_cast<size_t>((begin * 2 + r) * kAmxSteps + d - begin)];
            const uint32_t b = operands.b[static_cast<size_t>(p * call.b_stride + d * 16 + c)];
            low = emulated_multiply_add(a << 16, b << 16, low);
            high = emulated_multiply_add(a & 0xffff0000u, b & 0xffff0000u, high);
          }
          sum = without_denormal(without_denormal(sum) + without_denormal(low + high));
        }
        expected.push_back(sum);
      }
    }
  }
  return expected;
}

void expect_rows(const std::vector<float>& got, const Call& call, const std::vector<float>& expected,
                 const std::string& what) {
  size_t i = 0;
  for (int p = 0; p < call.panels; ++p) {
    for (int n = 0; n < call.rows * 16; ++n, ++i) {
      const float sum = got[static_cast<size_t>(p * call.c_stride + n)];
      if (std::isnan(sum) && std::isnan(expected[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(sum), std::bit_cast<uint32_t>(expected[i])) << what << " at " << i;
    }
  }
}

template <typename Body>
void for_all_tile_calls(const Body& body) {
  for (const int rows : {1, 15, 16, 17, 31, 32}) {
    for (const int panels : {1, 2}) {
      for (const int64_t depth : {0, 1, 15, 16, 17, 50, 64}) {
        for (const bool accumulate : {false, true}) {
          body(Call{rows, panels, nullptr, nullptr, (depth + 1) * 16, depth, nullptr, kAmxRows * 16,
                    accumulate},
               fmt::format("{} rows {} panels depth {} {}", rows, panels, depth, accumulate));
        }
      }
    }
  }
}

TEST(AmxTile, SumsInTheOrderOfTheManual) {
  uint32_t seed = 0;
  for_all_tile_calls([&](const Call& call, const std::string& what) {
    for (const bool wild : {false, true}) {
      const TileOperands operands(call.depth, wild, ++seed);
      const std::vector<float> expected = expected_sums(operands, call);
      for (const bool stream : {false, true})
        expect_rows(run(kEmulatedAmxTile, operands, call, stream), call, expected, what);
    }
  });
}

// A panel that is not there keeps its sums, and so do rows that are not wanted.
TEST(AmxTile, WritesOnlyTheTilesThatItWasAskedFor) {
  for_all_tile_calls([](const Call& call, const std::string& what) {
    const TileOperands operands(call.depth, false, 9);
    const std::vector<float> got = run(kEmulatedAmxTile, operands, call, false);
    for (size_t i = 0; i < got.size(); ++i) {
      const int64_t panel = static_cast<int64_t>(i) / call.c_stride,
                    row = static_cast<int64_t>(i) % call.c_stride / 16;
      if (panel < call.panels && row < (call.rows > 16 ? 32 : 16)) continue;
      ASSERT_EQ(got[i], operands.c[i]) << what << " at " << i;
    }
  });
}

TEST(AmxTile, TheCpusInstructionsGiveTheSameBits) {
  const AmxTile* tile = amx_tile();
  if (tile == nullptr) GTEST_SKIP() << "this CPU has no AMX-BF16, or the system does not grant it";
  uint32_t seed = 0;
  for_all_tile_calls([&](const Call& call, const std::string& what) {
    for (const bool wild : {false, true}) {
      const TileOperands operands(call.depth, wild, ++seed);
      for (const bool stream : {false, true})
        expect_rows(run(tile, operands, call, stream), call, expected_sums(operands, call), what);
    }
  });
}

}  // namespace
}  // namespace moehill
