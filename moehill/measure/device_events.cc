// Implementation of measure/device_events.h. Events travel as doubles, since a job gathers doubles.
#include "moehill/measure/device_events.h"

#include <span>

namespace moehill {
namespace {

void append(std::vector<double>& values, const DeviceEvents& device) {
  values.push_back(static_cast<double>(device.stages.size()));
  for (const StageInterval& s : device.stages) {
    values.insert(values.end(), {static_cast<double>(s.stage), s.begin, s.end});
  }
  values.push_back(static_cast<double>(device.waits.size()));
  for (const Wait& w : device.waits)
    values.insert(values.end(),
                  {w.begin, w.end, w.came, static_cast<double>(w.node), static_cast<double>(w.across)});
  values.push_back(static_cast<double>(device.num_dropped));
}

// EventReader reads what append() wrote.
class EventReader {
 public:
  explicit EventReader(std::span<const double> values) : values_(values) {}
  bool done() const { return at_ == values_.size(); }

  DeviceEvents next(const ClockReading& before, const ClockReading& after) {
    // Every time is moved to the clock of the first process while it is read.
    const auto time = [&] { return on_first_clock(value(), before, after); };
    DeviceEvents device;
    device.stages.resize(static_cast<size_t>(value()));
    for (StageInterval& s : device.stages) {
      s.stage = static_cast<int>(value());
      s.begin = time();
      s.end = time();
    }
    device.waits.resize(static_cast<size_t>(value()));
    for (Wait& w : device.waits) {
      w.begin = time();
      w.end = time();
      w.came = time();
      w.node = static_cast<int>(value());
      w.across = value() != 0;
    }
    device.num_dropped = static_cast<int64_t>(value());
    return device;
  }

 private:
  double value() { return values_[at_++]; }

  std::span<const double> values_;
  size_t at_ = 0;
};

}  // namespace

std::vector<StepEvents> gather_events(const Job& job, const std::vector<StepEvents>& local,
                                      const std::vector<ClockReading>& before,
                                      const std::vector<ClockReading>& after) {
  std::vector<double> values;
  const size_t num_devices = local.empty() ? 0 : local.front().size();
  for (size_t d = 0; d < num_devices; ++d) {
    for (const StepEvents& step : local) append(values, step[d]);
  }
  const std::vector<std::vector<double>> all = job.gather(values);
  if (!job.is_root()) return {};
  std::vector<StepEvents> steps(local.size());
  for (size_t r = 0; r < all.size(); ++r) {
    EventReader reader(all[r]);
    while (!reader.done()) {
      for (StepEvents& step : steps) step.push_back(reader.next(before[r], after[r]));
    }
  }
  return steps;
}

}  // namespace moehill
