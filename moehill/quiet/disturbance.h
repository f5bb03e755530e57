// Disturbance: how much of the machine other work took while a child was measured.
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Counters of the whole machine since its start, in seconds of one CPU; 0 where the system does not say.
struct MachineTimes {
  double busy = 0;    // of anything
  double stolen = 0;  // by other virtual machines
  double clock = 0;   // the time of the reading
  int num_cpus = 1;
};
MachineTimes machine_times();
// Returns the seconds of CPU between two readings that were not this process's own: those of other processes
// and the stolen ones.
double others_seconds(const MachineTimes& before, const MachineTimes& after, double own_seconds);
// Reads a text like that of /proc/stat.
MachineTimes parse_machine_times(const std::string& proc_stat, double ticks_per_second);

// Shares of one CPU: more than this beside a measurement is a disturbance. The measured process waits for its
// slowest thread, so it is one CPU that counts and not the whole machine.
inline constexpr double kOtherShare = 0.10, kStolenShare = 0.02;

// Describes the disturbance between two readings, of which `own_cpu_seconds` were the measured child's, in
// words ("other work took 0.8 CPUs"); empty if it was left alone. `load` is the load average before it, told
// beside the rest.
std::string disturbance_between(const MachineTimes& before, const MachineTimes& after, double own_cpu_seconds,
                                double load);

// Two virtual CPUs on one core take no time from each other that the system counts, but the FMA peak of the
// run (median of the bursts between its steps) falls to a half. Below kPeakShare of the best peak of the
// point a result is disturbed: in words, as above; empty otherwise, and where either is not known (0).
std::string lost_peak(double typical_peak, double best_peak);

// One sample of a step: what the clock says, and the part of it in which this process's threads did not run.
struct SampleTime {
  double elapsed = 0, idle = 0;  // seconds
};

// Tells whether the last sample was held up: the process was stopped, or its CPUs were given to others. That
// is so where it did not run for 50 ms and half a median step longer than in the median of the samples
// before. Without a sample before nothing is known, and the answer is no.
bool is_held_up(const std::vector<SampleTime>& samples);

}  // namespace moehill
