// Process identity: who owns something that outlives a process, and whether that owner is still there.
#pragma once

#include <cstdint>
#include <string>

namespace moehill {

// A process id alone is given out again; with the boot and the start time it names one process for good.
struct ProcessIdentity {
  std::string host;  // its name
  std::string boot;  // changes with every start of the machine
  int64_t pid = 0;
  int64_t start_ticks = 0;  // clock ticks from the boot to the start of the process

  bool operator==(const ProcessIdentity&) const = default;
};

ProcessIdentity this_process();

// A process on another host is `unknown`, since nothing can be seen of it.
enum class Liveness { alive, dead, unknown };
Liveness liveness_of(const ProcessIdentity& process);

}  // namespace moehill
