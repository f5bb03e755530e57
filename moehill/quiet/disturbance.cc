// Implementation of quiet/disturbance.h, from /proc/stat and the control groups.
#include "moehill/quiet/disturbance.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/machine/clock.h"

namespace moehill {

// The first line sums over all CPUs, "cpu user nice system idle iowait irq softirq steal guest guest_nice";
// one line for each CPU follows (proc(5)). guest and guest_nice are part of user and nice, so they are not
// added.
MachineTimes parse_machine_times(const std::string& proc_stat, double ticks_per_second) {
  MachineTimes times;
  times.num_cpus = 0;
  std::istringstream lines(proc_stat);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("cpu", 0) != 0) continue;
    std::istringstream fields(line);
    std::string name;
    double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
    fields >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
    if (name != "cpu") {
      ++times.num_cpus;
      continue;
    }
    times.busy = (user + nice + system + irq + softirq) / ticks_per_second;
    times.stolen = steal / ticks_per_second;
  }
  return times;
}

MachineTimes machine_times() {
  std::ifstream file("/proc/stat");
  std::stringstream text;
  text << file.rdbuf();
  MachineTimes times = parse_machine_times(text.str(), static_cast<double>(sysconf(_SC_CLK_TCK)));
  times.throttled = throttling(own_cgroups(), "/sys/fs/cgroup");
  times.clock = seconds();
  return times;
}

std::string disturbance_between(const MachineTimes& before, const MachineTimes& after, double own_cpu_seconds,
                                double load) {
  const double elapsed = after.clock - before.clock;
  if (elapsed <= 0) return "";
  const double other = (after.busy - before.busy - own_cpu_seconds) / elapsed;
  const double stolen = stolen_cpus(before, after);
  std::string text;
  if (other > kOtherShare) text = fmt::format("other work took {:.2f} CPUs", other);
  if (stolen > kStolenShare)
    text += fmt::format("{}{:.2f} CPUs were stolen", text.empty() ? "" : ", ", stolen);
  const int64_t num_waits = after.throttled.num - before.throttled.num;
  if (num_waits > 0)
    text += fmt::format("{}the CPU quota stopped it {}, {:.2f} s summed over CPUs", text.empty() ? "" : ", ",
                        count_text(num_waits, "time"), after.throttled.seconds - before.throttled.seconds);
  if (!text.empty() && load >= 0) text += fmt::format(" (load average before {:.1f})", load);
  return text;
}

double stolen_cpus(const MachineTimes& before, const MachineTimes& after) {
  const double elapsed = after.clock - before.clock;
  return elapsed > 0 ? (after.stolen - before.stolen) / elapsed : 0;
}

double others_seconds(const MachineTimes& before, const MachineTimes& after, double own_seconds) {
  return after.busy - before.busy + after.stolen - before.stolen - own_seconds;
}

bool left_alone(const MachineTimes& before, const MachineTimes& after, double own_seconds) {
  constexpr double kTicks_s = 0.03;  // the system counts in ticks of 10 ms
  return after.throttled.num == before.throttled.num &&
         others_seconds(before, after, own_seconds) <= kOtherShare * (after.clock - before.clock) + kTicks_s;
}

std::string lost_peak(double typical_peak, double best_peak) {
  if (typical_peak <= 0 || typical_peak >= kPeakShare * best_peak) return "";
  return fmt::format("the cores gave {:.0f} % of their peak", 100 * typical_peak / best_peak);
}

// Compares the last sample with the medians of the samples before it.
bool is_held_up(const std::vector<SampleTime>& samples) {
  constexpr double kLeast_s = 0.05;
  if (samples.size() < 2) return false;
  std::vector<double> elapsed, idle;
  for (const SampleTime& sample : samples) {
    elapsed.push_back(sample.elapsed);
    idle.push_back(sample.idle);
  }
  elapsed.pop_back();
  idle.pop_back();
  return samples.back().idle > median_of(idle) + std::max(kLeast_s, median_of(elapsed) / 2);
}

}  // namespace moehill
