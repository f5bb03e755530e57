// This file has the body of the AMX tile, written in terms of the operations of `Ops`. The operations are the
// CPU's instructions (x86/amx_registers.h) or their emulation in C++ (dot_emulation.h), so that tests run the
// same body on any CPU.
//
// Ops::begin(steps) configures the tile registers: tiles of A get rows of `steps` words, tiles of B get
// `steps` rows. It must come before all other operations, and again for another number of steps; end() comes
// last. zero<N>(), load<N>() and store<N>() work on tile N, whose rows are 64 bytes apart in memory. dot<C,
// A, B>() adds the product of tiles A and B to tile C.
//
//   const AmxTile* tile = &kAmxTileOf<EmulatedTileOps>;   // the same functions, without AMX
#pragma once

#include <algorithm>

#include "moehill/kernels/amx_tile.h"

namespace moehill {

// Zeroes, loads or stores the sums of one tile. Tiles 0 to 3 are sums (number: row tile * 2 + panel), 4 and 5
// are tiles of A, 6 and 7 are tiles of B.
template <class Ops, int kTile, bool kLoad>
void move_sums(const TileCall<uint32_t, uint32_t>& call) {
  float* place = call.c + kTile % 2 * call.c_stride + kTile / 2 * 16 * 16;
  if (!kLoad) return Ops::template store<kTile>(place);
  if (call.accumulate) return Ops::template load<kTile>(place);
  Ops::template zero<kTile>();
}

// AheadLines prefetches the memory of call.ahead, each cache line once. AMX computes 16 steps at a time, so
// the class prefetches the lines of 16 steps at a time.
class AheadLines {
 public:
  explicit AheadLines(const Ahead& ahead)
      : ahead_(ahead), at_(static_cast<const char*>(ahead.at)), run_(ahead.run) {}

  void ask(int64_t steps) {
    while (steps > 0) {
      const int64_t now = std::min(steps, run_), bytes = now * ahead_.step;
      for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at_ + i, 0, 2);
      at_ += bytes;
      steps -= now;
      run_ -= now;
      if (run_ > 0) continue;
      at_ += ahead_.jump;
      run_ = ahead_.run;
    }
  }

 private:
  const Ahead& ahead_;
  const char* at_;
  int64_t run_;
};

// Computes a product whose depth is either a multiple of kAmxSteps or less than kAmxSteps. kTall means more
// than 16 rows, and kWide means two panels.
template <class Ops, bool kTall, bool kWide>
void amx_part(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const int64_t steps = std::min<int64_t>(call.depth, kAmxSteps);
  move_sums<Ops, 0, true>(call);
  if constexpr (kWide) move_sums<Ops, 1, true>(call);
  if constexpr (kTall) move_sums<Ops, 2, true>(call);
  if constexpr (kTall && kWide) move_sums<Ops, 3, true>(call);
  AheadLines ahead(call.ahead);
  for (int64_t d = 0; d < call.depth; d += steps) {
    const uint32_t* a = call.a + d * kAmxRows;
    const uint32_t* b = call.b + d * 16;
    if (stream) {
      for (int64_t i = 0; i < steps * 16; i += 16) {
        prefetch_stream(b + i);
        if (kWide) prefetch_stream(b + call.b_stride + i);
      }
    } else {
      ahead.ask(steps);
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
}

template <class Ops>
void amx_part(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const bool wide = call.panels == 2;
  if (call.rows > 16)
    return wide ? amx_part<Ops, true, true>(call, stream) : amx_part<Ops, true, false>(call, stream);
  return wide ? amx_part<Ops, false, true>(call, stream) : amx_part<Ops, false, false>(call, stream);
}

// Computes the product for any depth: first the whole tiles, then the rest. The rest needs the tile registers
// in another shape, so the sums pass through memory in between.
template <class Ops>
void amx_sums(const TileCall<uint32_t, uint32_t>& call, bool stream) {
  const int64_t whole = call.depth / kAmxSteps * kAmxSteps;
  if (call.depth == whole) return amx_part<Ops>(call, stream);
  TileCall<uint32_t, uint32_t> part = call;
  if (whole > 0) {
    part.depth = whole;
    amx_part<Ops>(part, stream);
    part.accumulate = true;
  }
  part.a += whole * kAmxRows;
  part.b += whole * 16;
  // With a step of 0 bytes the rest prefetches nothing.
  part.ahead = {call.b};
  part.depth = call.depth - whole;
  Ops::begin(static_cast<int>(part.depth));
  amx_part<Ops>(part, stream);
  Ops::begin(kAmxSteps);
}

template <class Ops>
inline constexpr AmxTile kAmxTileOf{[] { Ops::begin(kAmxSteps); }, Ops::end, amx_sums<Ops>};

}  // namespace moehill
