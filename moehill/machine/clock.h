// This header has a clock that never goes back, the CPU time of this process, and the load of the machine.
// Times of measurements come from seconds(); nothing here is the time of day.
//
//   const double begin = seconds();
//   step();
//   const double step_seconds = seconds() - begin;
#pragma once

#include <time.h>

#include <chrono>
#include <cstdlib>

namespace moehill {

// Returns the seconds since an arbitrary moment. It never goes back.
inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Returns the CPU time, in seconds, that all threads of this process have used so far, in user and kernel
// mode. For threads that run on other cores at this moment, it counts only up to the system's last tick
// there.
inline double process_cpu_seconds() {
  timespec time{};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Returns the number of runnable threads of the machine, averaged over the last minute; -1 if the system does
// not say.
inline double load_average() {
  double average = -1;
  return getloadavg(&average, 1) == 1 ? average : -1;
}

}  // namespace moehill
