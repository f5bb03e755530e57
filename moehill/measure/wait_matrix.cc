// Implementation of measure/wait_matrix.h: for each wait, the device that came last, and what it was doing
// until it came.
#include "moehill/measure/wait_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace moehill {
namespace {

// Returns the stage of a device at a moment. Between two stages this is the earlier one; before all stages it
// is the first.
Stage stage_at(const DeviceEvents& device, double time) {
  Stage stage = static_cast<Stage>(device.stages.front().stage);
  for (const StageInterval& interval : device.stages) {
    if (interval.begin > time) break;
    stage = static_cast<Stage>(interval.stage);
  }
  return stage;
}

// Waits adds up the seconds of equal entries.
class Waits {
 public:
  void add(Stage stage, int device, int other, Stage busy_in, double seconds) {
    if (seconds > 0) seconds_[{stage, device, other, busy_in}] += seconds;
  }
  // Splits one device's wait for `other`, which came at `came`, by what `other` was doing.
  void add_wait(const StepEvents& events, int device, const Wait& wait, int other, double came) {
    const DeviceEvents& culprit = events[static_cast<size_t>(other)];
    const Stage stage = stage_at(events[static_cast<size_t>(device)], wait.begin);
    double rest = wait.end - wait.begin;
    for (const StageInterval& busy : culprit.stages) {
      const double overlap = std::min(busy.end, came) - std::max(busy.begin, wait.begin);
      if (overlap <= 0) continue;
      add(stage, device, other, static_cast<Stage>(busy.stage), overlap);
      rest -= overlap;
    }
    add(stage, device, other, stage_at(culprit, came), rest);
  }
  std::vector<WaitEntry> take() const {
    std::vector<WaitEntry> entries;
    for (const auto& [key, seconds] : seconds_) {
      const auto [stage, device, other, busy_in] = key;
      entries.push_back({stage, device, other, busy_in, seconds});
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const WaitEntry& a, const WaitEntry& b) { return a.seconds > b.seconds; });
    return entries;
  }

 private:
  std::map<std::tuple<Stage, int, int, Stage>, double> seconds_;
};

// Returns the key with the largest sum, and that sum.
template <typename Key>
std::pair<Key, double> largest(const std::map<Key, double>& sums) {
  const auto at = std::max_element(sums.begin(), sums.end(),
                                   [](const auto& a, const auto& b) { return a.second < b.second; });
  return {at->first, at->second};
}

// Returns the device that came last among those for which device `d` waits in its n-th wait; -1 if there is
// none.
int last_to_come(const StepEvents& events, size_t d, size_t n) {
  const Wait& own = events[d].waits[n];
  int last = -1;
  for (size_t other = 0; other < events.size(); ++other) {
    const Wait& wait = events[other].waits[n];
    const bool is_waited_for = own.across ? wait.node != own.node : wait.node == own.node;
    if (is_waited_for && (last < 0 || wait.came > events[static_cast<size_t>(last)].waits[n].came))
      last = static_cast<int>(other);
  }
  return last;
}

}  // namespace

std::vector<WaitEntry> wait_entries(const StepEvents& events) {
  // Without all waits of all devices the n-th waits do not belong together, and nothing can be said.
  Waits waits;
  for (const DeviceEvents& device : events) {
    if (device.num_dropped > 0 || device.stages.empty() || device.waits.size() != events.front().waits.size())
      return {};
  }
  for (size_t n = 0; !events.empty() && n < events.front().waits.size(); ++n) {
    for (size_t d = 0; d < events.size(); ++d) {
      const Wait& wait = events[d].waits[n];
      const int last = last_to_come(events, d, n);
      if (last < 0 || last == static_cast<int>(d)) continue;
      const double came = events[static_cast<size_t>(last)].waits[n].came;
      if (wait.across && came <= wait.begin) continue;
      waits.add_wait(events, static_cast<int>(d), wait, last, came);
    }
  }
  return waits.take();
}

std::string culprit_sentence(const std::vector<WaitEntry>& entries) {
  std::map<int, double> by_culprit;
  double sum = 0;
  for (const WaitEntry& e : entries) {
    by_culprit[e.other] += e.seconds;
    sum += e.seconds;
  }
  if (sum <= 0) return "";
  const auto [culprit, for_it] = largest(by_culprit);
  std::map<Stage, double> by_work, by_stage;
  for (const WaitEntry& e : entries) {
    if (e.other != culprit) continue;
    by_work[e.busy_in] += e.seconds;
    by_stage[e.stage] += e.seconds;
  }
  const auto [work, in_work] = largest(by_work);
  return fmt::format(
      "Device {} is waited for most: {:.2f} of {:.2f} ms that devices wait for each other, {:.2f} of them "
      "while it is in {}; the others wait in {}.",
      culprit, 1e3 * for_it, 1e3 * sum, 1e3 * in_work, name_of(work), name_of(largest(by_stage).first));
}

}  // namespace moehill
