// ProcessIdentity names the process that owns something that can outlive it, such as a lock file or a
// half-written record. liveness_of() says whether that process still runs.
//
//   if (liveness_of(owner) == Liveness::dead) take_over();
#pragma once

#include <cstdint>
#include <string>

namespace moehill {

// A process id alone is not enough, because the system gives it out again. Together with the boot and the
// start time it names one process for ever.
struct ProcessIdentity {
  std::string host;  // the host's name
  std::string boot;  // changes with every start of the machine
  int64_t pid = 0;
  int64_t start_ticks = 0;  // clock ticks from the boot to the start of the process

  bool operator==(const ProcessIdentity&) const = default;
};

// Returns the identity of the calling process.
ProcessIdentity this_process();

// A process on another host is `unknown`, because this host cannot see it.
enum class Liveness { alive, dead, unknown };
Liveness liveness_of(const ProcessIdentity& process);

}  // namespace moehill
