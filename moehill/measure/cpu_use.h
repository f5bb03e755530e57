// CPU use tells whether a process used more CPUs in its steps than the layout of its point says. A step that
// leaves work to other threads would otherwise get the throughput of few threads.
//
//     const double cpus = too_many_cpus(samples, num_threads, cpu_clock_lag());
//     if (cpus > 0) fmt::print("{:.1f} CPUs in place of {}\n", cpus, num_threads);
#pragma once

#include <cstdint>
#include <vector>

namespace moehill {

// CpuSample is one step of one process: the CPU time of all its threads, and the time on the clock around it.
struct CpuSample {
  double cpu = 0, wall = 0;  // seconds
};

// Returns the seconds by which the CPU time of a process may lack what one running thread has used.
double cpu_clock_lag();

// Returns the CPUs that the process used at the median, if these are more than `num_threads` threads can use;
// otherwise 0. `lag` is cpu_clock_lag().
double too_many_cpus(const std::vector<CpuSample>& samples, int64_t num_threads, double lag);

}  // namespace moehill
