// Measurement: makes the runs of all points, checks each, then times them interleaved.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "moehill/cli/job.h"
#include "moehill/cli/results.h"
#include "moehill/cli/stage_listener.h"
#include "moehill/cli/yardstick.h"

namespace moehill {

class Measurement {
 public:
  using Progress = std::function<void(const std::string&)>;

  // All points with their runs are resident until the measurement ends. Every method is collective over the
  // job; the results are complete on its root.
  Measurement(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
              Yardstick& yardstick, Progress progress);

  // Makes every run, steps it once with clocked stages, and checks (and dumps) what that step left, before
  // another run of the same operands overwrites it.
  void prepare();

  // Times the points whose check has not failed. After every step the output is compared with the checked
  // one; a point whose output changes fails its check and loses its samples.
  void time(CommandResult* command);

  std::vector<PointResult> take_results();

 private:
  struct LivePoint {
    PointResult result;
    std::unique_ptr<Run> run;
    std::unique_ptr<DeviceStages> stages;
    uint64_t local_result_hash = 0;  // of the checked step
  };

  void prepare_point(LivePoint& live);
  void describe(LivePoint& live);
  void after_sample(LivePoint& live);
  void check(LivePoint& live);
  void gather_traces(const std::vector<ClockReading>& before, CommandResult* command);
  std::vector<std::string> entered_stages(const DeviceStages& stages) const;
  std::vector<DeviceSeconds> device_seconds(const LivePoint& live) const;

  const BenchOptions& options_;
  const Job& job_;
  Yardstick& yardstick_;
  Progress progress_;
  std::map<Distribution, std::unique_ptr<RunFactory>> factories_;
  std::vector<LivePoint> points_;
};

}  // namespace moehill
