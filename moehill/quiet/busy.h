// Busy: whether other work runs on this machine as a measurement begins, in words for whoever waits for it.
// Disturbances during a measurement are in disturbance.h.
#pragma once

#include <string>

namespace moehill {

struct MachineLoad {
  double average = -1;  // of runnable threads in the last minute; below 0: not known
  int running = 0;      // threads at this moment, the asking one among them
};
// Reads a text like that of /proc/loadavg.
MachineLoad parse_machine_load(const std::string& proc_loadavg);
MachineLoad machine_load();

// The threads that are about to be measured.
struct OwnWork {
  int num_threads = 1, num_cores = 1;
  int num_running = 1;  // the command's own threads that run already
};
// Returns "the machine is busy: load 6.1 on 2 cores; figures are of a shared machine", "4 threads on 2 cores:
// ...", both, or nothing if there are enough cores and they are free. The average of the last minute also has
// what this user ran before, which disturbs nothing. So it counts only if more was runnable than the cores
// can do, or if something else runs at this moment.
std::string busy_words(const MachineLoad& load, const OwnWork& own);

}  // namespace moehill
