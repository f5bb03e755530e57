// This file has the body of the dot tile, written in terms of the operations of `Ops`: the CPU's instructions
// (x86/dot_tile.cc) or their emulation (dot_emulation.h). Include it where the compiler may use these
// instructions.
//
// Ops has two types, Sums and Words. Each is one panel row of 16 lanes. Its operations are zero(),
// load_sums(), store_sums(), load_words(), store_words(); broadcast() of one word; broadcast_two() of two
// words that alternate; dot(sums, a, b); and rounded(low, high, scale), which multiplies both sums by scale
// and makes bf16 pairs of them.
//
//   const DotTile* tile = &kDotTileOf<EmulatedDotOps>;   // the same functions, without AVX512_BF16
#pragma once

#include <algorithm>

#include "moehill/kernels/dot_tile.h"

namespace moehill {

// Loads the sums or sets them to zero, and adds the products of the call.
template <class Ops, int kRows, int kPanels, Fetch kFetch>
[[gnu::always_inline]] inline void add_products(const DotCall& call,
                                                typename Ops::Sums (&sum)[kRows][kPanels]) {
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p)
      sum[i][p] = call.accumulate ? Ops::load_sums(call.c + p * call.c_stride + i * 16) : Ops::zero();
  }
  const uint32_t* a = call.a;
  const uint32_t* b = call.b;
  const int64_t b_stride = call.b_stride, ahead_step = call.ahead.step;
  const char* ahead = static_cast<const char*>(call.ahead.at);
  const int64_t run = kFetch == Fetch::ahead ? call.ahead.run : call.depth;
  for (int64_t left = call.depth; left > 0; left -= run, ahead += call.ahead.jump) {
#pragma GCC unroll 4
    for (int64_t d = std::min(left, run); d > 0; --d, a += kRows, b += 16) {
      if constexpr (kFetch == Fetch::ahead) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
      }
      typename Ops::Words row[kPanels];
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        if constexpr (kFetch == Fetch::stream && kRows > kRowsOfPlainStream)
          prefetch_stream(b + p * b_stride);
        row[p] = Ops::load_words(b + p * b_stride);
      }
#pragma GCC unroll 12
      for (int i = 0; i < kRows; ++i) {
        const typename Ops::Words factor = Ops::broadcast(a[i]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) sum[i][p] = Ops::dot(sum[i][p], factor, row[p]);
      }
    }
  }
}

template <class Ops, int kRows, int kPanels, bool kStream>
[[gnu::noinline]] void dot_sums(const DotCall& call) {
  typename Ops::Sums sum[kRows][kPanels];
  // The pointer is copied, since the compiler must assume that a vector store changes the call.
  float* const c = call.c;
  const int64_t c_stride = call.c_stride;
  add_products<Ops, kRows, kPanels, kStream ? Fetch::stream : Fetch::ahead>(call, sum);
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) Ops::store_sums(c + p * c_stride + i * 16, sum[i][p]);
  }
}

// Computes the same sums as dot_sums(), and stores them as rows of a bf16 gradient.
template <class Ops, int kRows, int kPanels>
[[gnu::noinline]] void dot_gradient(const DotCall& call, const GradientPlace& place) {
  typename Ops::Sums sum[kRows][kPanels];
  uint32_t* const out = place.out;
  const int64_t stride = place.stride;
  const float scale = place.scale;
  add_products<Ops, kRows, kPanels, Fetch::nothing>(call, sum);
#pragma GCC unroll 6
  for (int i = 0; i < kRows; i += 2) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      // A pair of the gradient needs two rows; a last row without a partner is paired with zeros.
      const typename Ops::Sums second = i + 1 < kRows ? sum[i + 1 < kRows ? i + 1 : i][p] : Ops::zero();
      Ops::store_words(out + p * stride + i * 8, Ops::rounded(sum[i][p], second, scale));
    }
  }
}

// Picks the template for call.rows at run time, by trying one number of rows after the other.
template <class Ops, int kRows = kDotRows>
void any_dot_sums(const DotCall& call, bool stream) {
  if (call.rows == kRows) {
    const bool wide = call.panels == kDotPanels;
    if (stream) return wide ? dot_sums<Ops, kRows, 2, true>(call) : dot_sums<Ops, kRows, 1, true>(call);
    return wide ? dot_sums<Ops, kRows, 2, false>(call) : dot_sums<Ops, kRows, 1, false>(call);
  }
  if constexpr (kRows > 1) any_dot_sums<Ops, kRows - 1>(call, stream);
}

template <class Ops, int kRows = kDotRows>
void any_dot_gradient(const DotCall& call, const GradientPlace& place) {
  if (call.rows == kRows) {
    if (call.panels == kDotPanels) return dot_gradient<Ops, kRows, 2>(call, place);
    return dot_gradient<Ops, kRows, 1>(call, place);
  }
  if constexpr (kRows > 1) any_dot_gradient<Ops, kRows - 1>(call, place);
}

// Computes a flipped product (flipped_call.h): each square of weights gives kHeight vectors of sums. With two
// copies, a vector holds the sums of two rows of the weights.
template <class Ops, int kCopies>
[[gnu::noinline]] void dot_flipped(const FlippedCall<uint32_t>& call) {
  constexpr int kHeight = 16 / kCopies;
  const uint32_t* squares = call.squares;
  float* sums = call.sums;
  const char* ahead = call.ahead;
  for (int q = 0; q < call.count; ++q, squares += 128, sums += kHeight * 16) {
    typename Ops::Sums sum[kHeight];
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) sum[i] = call.accumulate ? Ops::load_sums(sums + i * 16) : Ops::zero();
    const uint32_t* weights = squares;
    const uint32_t* rows = call.rows;
    for (int d = 0; d < call.steps; ++d, weights += 2, rows += 16, ahead += 64) {
      __builtin_prefetch(ahead, 0, 2);
      const typename Ops::Words row = Ops::load_words(rows);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        if constexpr (kCopies == 2) {
          sum[i] = Ops::dot(sum[i], Ops::broadcast_two(weights + i * 16), row);
        } else {
          sum[i] = Ops::dot(sum[i], Ops::broadcast(weights[i / 2 * 16 + i % 2]), row);
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i) Ops::store_sums(sums + i * 16, sum[i]);
  }
}

template <class Ops>
void any_dot_flipped(const FlippedCall<uint32_t>& call) {
  call.shape.copies == 2 ? dot_flipped<Ops, 2>(call) : dot_flipped<Ops, 1>(call);
}

template <class Ops>
inline constexpr DotTile kDotTileOf{any_dot_sums<Ops>, any_dot_gradient<Ops>, any_dot_flipped<Ops>};

}  // namespace moehill
