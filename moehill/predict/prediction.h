// Predictions of points: the hardware that a command may use, and the path that --ep-path auto takes. The
// model itself is model/predict.h, which knows no options.
//
//     const ProbedHardware probed = probed_hardware(environment);
//     if (probed.hardware && unpredictable(config).empty())
//       predict_run(config, routing, *probed.hardware).time_s;   // seconds of a step
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/measure/points.h"
#include "moehill/model/predict.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/probe/probe_file.h"

namespace moehill {

// ProbedHardware is the hardware that the model reads for this machine. `note` says why there is none, or
// what one should know of it.
struct ProbedHardware {
  std::optional<Hardware> hardware;
  std::string note;
};
// A probe of another CPU, number of cores or SIMD target is not used. A probe of another build is used, with
// a note.
ProbedHardware probed_hardware(const Environment& environment,
                               const std::string& file = default_probe_file());

// Says why the model cannot predict this run; empty if it can.
std::string unpredictable(const RunConfig& config);
// Says why the time of this run cannot be held against the model's; empty if it can. A prediction of a step
// with the router in it leaves the router out.
std::string incomparable(const RunConfig& config);
// Says that the probe knows another number of devices a node than a run on `num_nodes` nodes has; empty if
// the numbers fit.
std::string unlike_nodes(const RunConfig& config, const Hardware& hardware, int num_nodes);
// Predicts a step. Devices with more threads than their machine has cores share the cores
// (model/shared_cores.h).
Prediction predict_run(const RunConfig& config, const Routing& routing, const Hardware& hardware,
                       DeviceMemory memory = DeviceMemory::shared);

// Returns the paths of expert parallelism that this configuration allows.
std::vector<Spread> candidate_paths(const RunConfig& config);

// RankedPath is a candidate path with its prediction; rank_paths() returns the fastest first.
struct RankedPath {
  Spread path;
  Prediction prediction;
};
std::vector<RankedPath> rank_paths(RunConfig config, const Routing& routing, const Hardware& hardware,
                                   DeviceMemory memory = DeviceMemory::shared);

// predict_points() predicts every point. It also carries out --ep-path auto: it sets the path of each such
// point to the path with the lowest predicted time, and says so. Without a probe, auto is default_path().
// Call it on one process and copy the paths to the others.
struct BenchPredictions {
  std::vector<std::optional<Prediction>> points;
  std::string text;
};
BenchPredictions predict_points(const BenchOptions& options, const Environment& environment,
                                std::vector<Point>& points);

}  // namespace moehill
