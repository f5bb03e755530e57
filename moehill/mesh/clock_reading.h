// Clock readings: how the steady clock of another process relates to that of the first process, so that times
// of both can be shown on one axis (a timeline of several hosts).
//
//   const double t = on_first_clock(time, before, after);   // readings from before and after the run
#pragma once

namespace moehill {

// One reading, in seconds. When a process's clock shows `own`, the first process's clock shows own + offset,
// with an error of at most `uncertainty`.
struct ClockReading {
  double own = 0, offset = 0, uncertainty = 0;
};

// Converts `time` of a process's clock to the first process's clock. It lies between (or near) two readings;
// the difference of the clocks is taken to change evenly between them.
inline double on_first_clock(double time, const ClockReading& before, const ClockReading& after) {
  const double span = after.own - before.own;
  const double drift = span > 0 ? (after.offset - before.offset) / span : 0;
  return time + before.offset + drift * (time - before.own);
}

}  // namespace moehill
