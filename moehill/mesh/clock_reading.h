// Clock readings: how the steady clock of another host stands to the first process's, so that times of both
// can be put on one axis.
#pragma once

namespace moehill {

// Seconds. At `own` on a process's clock, the first process's shows own + offset, give or take `uncertainty`.
struct ClockReading {
  double own = 0, offset = 0, uncertainty = 0;
};

// `time` of a process's clock on the first process's, between (or near) two readings: the clocks are taken to
// drift apart evenly.
inline double on_first_clock(double time, const ClockReading& before, const ClockReading& after) {
  const double span = after.own - before.own;
  const double drift = span > 0 ? (after.offset - before.offset) / span : 0;
  return time + before.offset + drift * (time - before.own);
}

}  // namespace moehill
