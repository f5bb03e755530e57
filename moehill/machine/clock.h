// Time and load: the steady clock in seconds, and how busy the machine is with other work.
#pragma once

#include <chrono>
#include <cstdlib>

namespace moehill {

// Seconds since an arbitrary start that never goes back.
inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runnable threads of the machine averaged over the last minute, -1 where the system does not say.
inline double load_average() {
  double average = -1;
  return getloadavg(&average, 1) == 1 ? average : -1;
}

}  // namespace moehill
