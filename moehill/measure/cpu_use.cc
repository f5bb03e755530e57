// Implementation of measure/cpu_use.h.
#include "moehill/measure/cpu_use.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "moehill/bench/statistics.h"

namespace moehill {

// The system adds a running thread's time at each tick. The longest tick of Linux is 10 ms. A CPU without
// ticks (nohz_full) is looked at once a second.
double cpu_clock_lag() {
  constexpr double kLongestTick = 0.01, kWithoutTicks = 1;  // seconds
  std::ifstream file("/sys/devices/system/cpu/nohz_full");
  std::string cpus;  // a list such as "1-3"; empty or "(null)" if there are none
  file >> cpus;
  return cpus.find_first_of("0123456789") == std::string::npos ? kLongestTick : kWithoutTicks;
}

// No right step is refused. A thread uses at most one CPU, whether it computes, spins or waits, with SMT or a
// quota too. The system may add CPU time of before the step only during it. That is at most the lag for each
// thread. Threads that the system or MPI adds for a moment are within the margin of 10 %. Other processes do
// not count here. The median leaves out single steps that something else disturbed.
double too_many_cpus(const std::vector<CpuSample>& samples, int64_t num_threads, double lag) {
  constexpr double kMostOfThreads = 1.1, kLeastWall = 1e-9;
  if (samples.empty()) return 0;
  const double threads = static_cast<double>(num_threads);
  std::vector<double> beyond, cpus;
  for (const CpuSample& sample : samples) {
    beyond.push_back(sample.cpu - threads * (kMostOfThreads * sample.wall + lag));
    cpus.push_back(sample.cpu / std::max(kLeastWall, sample.wall));
  }
  return median_of(beyond) > 0 ? median_of(cpus) : 0;
}

}  // namespace moehill
