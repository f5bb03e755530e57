// Time and load: the steady clock in seconds, what this process has worked, and how busy the machine is.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdlib>

namespace moehill {

// Seconds since an arbitrary start that never goes back.
inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// CPU time of all threads of this process so far, in user and kernel mode. Threads that run on other cores at
// this moment are counted up to the system's last tick there.
inline double process_cpu_seconds() {
  timespec time{};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Runnable threads of the machine averaged over the last minute, -1 where the system does not say.
inline double load_average() {
  double average = -1;
  return getloadavg(&average, 1) == 1 ? average : -1;
}

}  // namespace moehill
