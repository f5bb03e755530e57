#include "moehill/machine/process_identity.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

namespace moehill {
namespace {

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::string boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

// Returns field 22 of /proc/PID/stat (see proc(5)), the start of the process. Returns 0 if there is no such
// process, or if it has ended and only waits to be reaped. The second field, the name, may contain blanks and
// parentheses, so fields are counted from the last ')'.
int64_t start_ticks_of(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t end_of_name = line.rfind(')');
  if (end_of_name == std::string::npos) return 0;
  std::istringstream rest(line.substr(end_of_name + 1));
  std::string field;
  int64_t ticks = 0;
  for (int number = 3; number <= 22 && rest >> field; ++number) {
    if (number == 3 && (field == "Z" || field == "X")) return 0;
    if (number == 22) ticks = std::stoll(field);
  }
  return ticks;
}

}  // namespace

ProcessIdentity this_process() { return {host_name(), boot_id(), getpid(), start_ticks_of(getpid())}; }

Liveness liveness_of(const ProcessIdentity& process) {
  if (process.host != host_name()) return Liveness::unknown;
  if (process.boot != boot_id()) return Liveness::dead;
  const int64_t ticks = start_ticks_of(process.pid);
  return ticks != 0 && ticks == process.start_ticks ? Liveness::alive : Liveness::dead;
}

}  // namespace moehill
