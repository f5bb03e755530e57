// Busy tells in words whether other work runs on this machine as a measurement begins.
// A command asks once, before it measures. quiet/disturbance.h finds disturbances during a measurement.
//
//     const std::string words = busy_words(machine_load(), {.num_threads = 2, .num_cores = 2});
//     if (!words.empty()) fmt::print(stderr, "{}\n", words);
#pragma once

#include <string>

namespace moehill {

// MachineLoad is what the system says of runnable threads.
struct MachineLoad {
  double average = -1;  // runnable threads on average in the last minute; below 0: not known
  int running = 0;      // threads at this moment, including the one that asks
  // CPUs that other virtual machines took from this one, by stolen_cpus(). A system counts them only while it
  // has work itself, so they are not known before this process has worked. 0: none, or not known.
  double stolen = 0;
};
// Reads a text in the form of /proc/loadavg. A text that cannot be read gives a load that is not known.
MachineLoad parse_machine_load(const std::string& proc_loadavg);
MachineLoad machine_load();

// OwnWork is what is about to be measured.
struct OwnWork {
  int num_threads = 1, num_cores = 1;
  int num_running = 1;  // the command's own threads that run already
};
// Returns "the machine is busy: load 6.1 on 2 cores; figures are of a shared machine", "other virtual
// machines take 0.40 CPUs", "4 threads on 2 cores: ...", several of them, or nothing if there are enough free
// cores. The average of the last minute includes what this user ran just before, which disturbs nothing any
// more. So the average counts only if it is more than the cores can do, or if something else runs at this
// moment.
std::string busy_words(const MachineLoad& load, const OwnWork& own);

}  // namespace moehill
