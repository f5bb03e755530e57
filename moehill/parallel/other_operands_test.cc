// Tests that signs are flipped at the same places for every type and number of threads, and that a second
// time gives back every bit.
#include "moehill/parallel/other_operands.h"

#include <gtest/gtest.h>

#include <bit>
#include <iterator>
#include <string>
#include <vector>

namespace moehill {
namespace {

// Bits of numbers of all kinds: zeros, NaNs with and without a sign, infinities, small and normal numbers.
constexpr uint32_t kKinds[] = {0x00000000u, 0x80000000u, 0x7fc00001u, 0xffa00000u, 0x7f800000u,
                               0xff800000u, 0x00000001u, 0x3f800000u, 0xc0490fdbu};
constexpr int64_t kCount = 1021;  // shares of threads and vectors end with a rest

uint32_t kind(int64_t place) { return kKinds[place % std::ssize(kKinds)]; }
uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }
uint32_t bits_of(bf16 value) { return static_cast<uint32_t>(value.bits) << 16; }
void set_bits(float& value, uint32_t bits) { value = std::bit_cast<float>(bits); }
void set_bits(bf16& value, uint32_t bits) { value.bits = static_cast<uint16_t>(bits >> 16); }

template <typename T>
void expect_flipped(int num_threads) {
  ThreadTeam team(num_threads);
  std::vector<T> values(kCount);
  for (int64_t i = 0; i < kCount; ++i) set_bits(values[static_cast<size_t>(i)], kind(i));
  const std::vector<T> first = values;
  flip_signs(team, values.data(), kCount);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t sign = has_other_sign(static_cast<int64_t>(i)) ? 0x80000000u : 0;
    EXPECT_EQ(bits_of(values[i]), bits_of(first[i]) ^ sign) << "place " << i;
  }
  flip_signs(team, values.data(), kCount);
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(bits_of(values[i]), bits_of(first[i])) << "place " << i;
}

TEST(OtherOperands, SignsAreFlippedInBitsAndComeBack) {
  for (const int num_threads : {1, 2, 3}) {
    expect_flipped<float>(num_threads);
    expect_flipped<bf16>(num_threads);
  }
}

// Places are numbered in 32 bits, so they begin again after 2^32 numbers of a matrix.
TEST(OtherOperands, PlacesStayTheSame) {
  std::string flipped;
  for (int64_t place = 0; place < 32; ++place) flipped += has_other_sign(place) ? '1' : '0';
  EXPECT_EQ(flipped, "00100100110001011101100101111111");
  int64_t num_flipped = 0;
  for (int64_t place = 0; place < 10'000; ++place) {
    num_flipped += has_other_sign(place);
    EXPECT_EQ(has_other_sign(place + (int64_t{1} << 32)), has_other_sign(place));
  }
  EXPECT_NEAR(static_cast<double>(num_flipped), 5'000, 200);
}

TEST(OtherOperands, CopiesOfAnExpertStayEqualAndNoOtherIsTouched) {
  ThreadTeam team(2);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const WeightStack stack(WeightLayout::panels, 4, 19, 21, dtype);
    const WeightView& view = stack.view();
    for (int64_t g = 0; g < 4; ++g) {
      for (int64_t k = 0; k < 19; ++k) {
        for (int64_t n = 0; n < 21; ++n) view.set(g, k, n, static_cast<float>(1 + k + n));
      }
    }
    flip_signs(team, view, {1, 3});
    for (int64_t k = 0; k < 19; ++k) {
      for (int64_t n = 0; n < 21; ++n) {
        const float value = static_cast<float>(1 + k + n);
        EXPECT_EQ(view.at(0, k, n), value);
        EXPECT_EQ(view.at(1, k, n), has_other_sign(view.index(0, k, n)) ? -value : value);
        EXPECT_EQ(view.at(2, k, n), view.at(1, k, n));
        EXPECT_EQ(view.at(3, k, n), value);
      }
    }
  }
  flip_signs(team, WeightView{}, {0, 1});  // no data: nothing happens
}

}  // namespace
}  // namespace moehill
