// A ClockReading relates the steady clock of a process to the steady clock of the first process, so that a
// timeline of several hosts can show their times on one axis.
//
//   const double t = on_first_clock(time, before, after);   // readings from before and after the run
#pragma once

namespace moehill {

// All members are in seconds. When a process's clock shows `own`, the first process's clock shows own +
// offset, with an error of at most `uncertainty`.
struct ClockReading {
  double own = 0, offset = 0, uncertainty = 0;
};

// Converts `time` of a process's clock to the first process's clock. `time` lies between (or near) two
// readings. The function assumes that the difference of the clocks changes evenly between them.
inline double on_first_clock(double time, const ClockReading& before, const ClockReading& after) {
  const double span = after.own - before.own;
  const double drift = span > 0 ? (after.offset - before.offset) / span : 0;
  return time + before.offset + drift * (time - before.own);
}

}  // namespace moehill
