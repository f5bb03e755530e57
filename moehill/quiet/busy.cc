#include "moehill/quiet/busy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "moehill/base/table.h"
#include "moehill/quiet/disturbance.h"

namespace moehill {

// Fields of the file: three load averages, then running/all threads, then the last process id: "6.10 5.20
// 4.80 3/250 12345" (proc(5)).
MachineLoad parse_machine_load(const std::string& proc_loadavg) {
  MachineLoad load;
  std::istringstream text(proc_loadavg);
  double of_five = 0, of_fifteen = 0;
  // Reading stops at the slash, so `running` is the number before it.
  if (!(text >> load.average >> of_five >> of_fifteen >> load.running)) return {};
  return load;
}

MachineLoad machine_load() {
  std::ifstream file("/proc/loadavg");
  std::stringstream text;
  text << file.rdbuf();
  return parse_machine_load(text.str());
}

// There are three signs of other work: more threads were runnable than the cores can run, another program
// runs at this moment, or other virtual machines took CPUs.
std::string busy_words(const MachineLoad& load, const OwnWork& own) {
  constexpr double kNotIdle = 0.7;
  const bool overloaded = load.average > own.num_cores + 1.0;
  const bool shared = load.average > kNotIdle && load.running > own.num_running;
  std::vector<std::string> parts;
  if (overloaded || shared)
    parts.push_back(fmt::format("the machine is busy: load {:.1f} on {}; figures are of a shared machine",
                                load.average, count_text(own.num_cores, "core")));
  if (load.stolen > kOtherShare)
    parts.push_back(fmt::format("other virtual machines take {:.2f} CPUs", load.stolen));
  if (own.num_threads > own.num_cores)
    parts.push_back(
        fmt::format("{} threads on {}: they take turns", own.num_threads, count_text(own.num_cores, "core")));
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace moehill
