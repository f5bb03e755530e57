// The body of the AMX tile on the registers of `Ops`, which is either the CPU's or their emulation.
//
// Ops: begin(steps) and end() around all others, for tiles of A of `steps` words and of B of `steps` rows, 1
// to 16; zero<N>(), load<N>(), store<N>() of tile N, whose rows are 64 bytes apart; dot<C, A, B>().
#pragma once

#include <algorithm>

#include "moehill/kernels/amx_tile.h"

namespace moehill {

// Tiles 0 to 3 are sums (row tile * 2 + panel), 4 and 5 are A, 6 and 7 are B.
template <class Ops, int kTile, bool kLoad>
void move_sums(const TileCall<uint32_t, uint32_t>& call) {
  float* place = call.c + kTile % 2 * call.c_stride + kTile / 2 * 16 * 16;
  if (!kLoad) return Ops::template store<kTile>(place);
  if (call.accumulate) return Ops::template load<kTile>(place);
  Ops::template zero<kTile>();
}

// A depth of whole tiles, or of less than one. Of no depth at all the sums alone are moved: the CPU refuses
// tiles of no steps.
template <class Ops, bool kTall, bool kWide>
void amx_part(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const int64_t steps = std::clamp<int64_t>(call.depth, 1, kAmxSteps);
  Ops::begin(static_cast<int>(steps));
  move_sums<Ops, 0, true>(call);
  if constexpr (kWide) move_sums<Ops, 1, true>(call);
  if constexpr (kTall) move_sums<Ops, 2, true>(call);
  if constexpr (kTall && kWide) move_sums<Ops, 3, true>(call);
  const char* ahead = static_cast<const char*>(call.ahead.at);
  int64_t run = call.ahead.run;
  for (int64_t d = 0; d < call.depth; d += steps) {
    const uint32_t* a = call.a + d * kAmxRows;
    const uint32_t* b = call.b + d * 16;
    if (stream) {
      for (int64_t i = 0; i < steps * 16; i += 16) {
        prefetch_stream(b + i);
        if (kWide) prefetch_stream(b + call.b_stride + i);
      }
    } else {
      for (int64_t i = 0; i < steps; ++i) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += call.ahead.step;
        if (--run > 0) continue;
        ahead += call.ahead.jump;
        run = call.ahead.run;
      }
    }
    Ops::template load<4>(a);
    Ops::template load<6>(b);
    Ops::template dot<0, 4, 6>();
    if constexpr (kWide) {
      Ops::template load<7>(b + call.b_stride);
      Ops::template dot<1, 4, 7>();
    }
    if constexpr (kTall) {
      Ops::template load<5>(a + 16 * 16);
      Ops::template dot<2, 5, 6>();
      if constexpr (kWide) Ops::template dot<3, 5, 7>();
    }
  }
  move_sums<Ops, 0, false>(call);
  if constexpr (kWide) move_sums<Ops, 1, false>(call);
  if constexpr (kTall) move_sums<Ops, 2, false>(call);
  if constexpr (kTall && kWide) move_sums<Ops, 3, false>(call);
  Ops::end();
}

template <class Ops>
void amx_part(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const bool wide = call.panels == 2;
  if (call.rows > 16)
    return wide ? amx_part<Ops, true, true>(call, stream) : amx_part<Ops, true, false>(call, stream);
  return wide ? amx_part<Ops, false, true>(call, stream) : amx_part<Ops, false, false>(call, stream);
}

// Whole tiles of depth, then what is left: other tiles of A and B, so the sums pass through memory.
template <class Ops>
void amx_sums(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const int64_t whole = call.depth / kAmxSteps * kAmxSteps;
  TileCall<uint32_t, uint32_t> part = call;
  if (whole > 0 || call.depth == 0) {
    part.depth = whole;
    amx_part<Ops>(part, stream);
    part.accumulate = true;
  }
  if (call.depth == whole) return;
  part.a += whole * kAmxRows;
  part.b += whole * 16;
  part.ahead = {call.b};
  part.depth = call.depth - whole;
  amx_part<Ops>(part, stream);
}

}  // namespace moehill
