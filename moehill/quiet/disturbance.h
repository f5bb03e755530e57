// Disturbance tells how much of the machine other work took while something was measured, and whether a
// sample was held up.
// It judges what has already happened. quiet/busy.h looks before a measurement; quiet/core_watch.h repeats
// a disturbed one.
//
//     const MachineTimes before = machine_times();
//     run_child();
//     disturbance_between(before, machine_times(), child_cpu_seconds, load);   // "other work took 0.80 CPUs"
#pragma once

#include <string>
#include <vector>

#include "moehill/machine/cgroups.h"

namespace moehill {

// MachineTimes are counters of the whole machine since its start, in seconds of one CPU, and those of the CPU
// quota; 0 if the system does not tell.
struct MachineTimes {
  double busy = 0;    // with any work
  double stolen = 0;  // taken by other virtual machines
  double clock = 0;   // the time of the reading
  int num_cpus = 1;
  Throttling throttled = {};  // of the control groups of this process, by their quota of CPU time
};
MachineTimes machine_times();
// Returns the seconds of CPU between two readings that this process did not use: other processes used them,
// or other virtual machines stole them.
double others_seconds(const MachineTimes& before, const MachineTimes& after, double own_seconds);
// Returns the CPUs that other virtual machines took between two readings, on average; 0 if no time has
// passed.
double stolen_cpus(const MachineTimes& before, const MachineTimes& after);
// Returns true if others took at most kOtherShare of a CPU between two readings, besides what the system's
// ticks leave open, and the CPU quota never stopped this process. `own_seconds` is this process's CPU time.
bool left_alone(const MachineTimes& before, const MachineTimes& after, double own_seconds);
// Reads a text in the form of /proc/stat. The fields `clock` and `throttled` stay 0.
MachineTimes parse_machine_times(const std::string& proc_stat, double ticks_per_second);

// More than this share of one CPU beside a measurement is a disturbance. It is a share of one CPU and not of
// the machine, because a step waits for its slowest thread.
inline constexpr double kOtherShare = 0.10, kStolenShare = 0.02;

// Describes the disturbance between two readings in words ("other work took 0.80 CPUs"); empty if there was
// none. A wait for the CPU quota is a disturbance, however short, because a step waits for its slowest
// thread. `own_cpu_seconds` is what the measured child itself used. `load` is the load average before it,
// which the words mention beside the rest; below 0: not known.
std::string disturbance_between(const MachineTimes& before, const MachineTimes& after, double own_cpu_seconds,
                                double load);

// The system's counters do not show that two virtual CPUs share one core. But the run's FMA peak, the median
// of the bursts between its steps, then falls to a half. If that peak is below kPeakShare of the point's best
// peak, the result is disturbed, and this function returns the words for it. It returns nothing otherwise, or
// if a peak is not known (0).
std::string lost_peak(double typical_peak, double best_peak);

// SampleTime is one sample of a step: what the clock says, and the part of it in which this process's threads
// did not run.
struct SampleTime {
  double elapsed = 0, idle = 0;  // seconds
};

// Tells whether the last sample was held up: the process was stopped, or others had its CPUs. The sample was
// held up if its idle time exceeds the median idle time of the earlier samples by more than 50 ms and by more
// than half a median step. Without an earlier sample nothing is known, and the answer is no.
bool is_held_up(const std::vector<SampleTime>& samples);

}  // namespace moehill
