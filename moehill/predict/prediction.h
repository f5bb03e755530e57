// Predictions of points: the hardware that a command may use, and the path that --ep-path auto takes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/measure/points.h"
#include "moehill/model/predict.h"
#include "moehill/probe/probe_file.h"

namespace moehill {

// The hardware that the model reads for this machine. `note` says why there is none, or what to know of it.
struct ProbedHardware {
  std::optional<Hardware> hardware;
  std::string note;
};
// A probe of another CPU or another number of cores is not used; one of another build is, with a note.
ProbedHardware probed_hardware(const Environment& environment,
                               const std::string& file = default_probe_file());

// Says why the model has nothing to tell of a run; empty: it has.
std::string unpredictable(const RunConfig& config);
// Devices of a node are threads of one process (`shared`), which `fused` makes use of, or processes
// (`apart`).
enum class DeviceMemory { shared, apart };
Prediction predict_run(const RunConfig& config, const Routing& routing, const Hardware& hardware,
                       DeviceMemory memory = DeviceMemory::shared);

// The paths of expert parallelism that this configuration allows.
std::vector<Spread> candidate_paths(const RunConfig& config);

// A candidate path with its prediction; rank_paths() gives the best first.
struct RankedPath {
  Spread path;
  Prediction prediction;
};
std::vector<RankedPath> rank_paths(RunConfig config, const Routing& routing, const Hardware& hardware,
                                   DeviceMemory memory = DeviceMemory::shared);

// --ep-path auto: sets each such point's path to the one predicted fastest, and says so; and predicts every
// point. Without a probe auto is compact_psum. Call it on one process; `paths` of another are copied.
struct BenchPredictions {
  std::vector<std::optional<Prediction>> points;
  std::string text;
};
BenchPredictions predict_points(const BenchOptions& options, const Environment& environment,
                                std::vector<Point>& points);

}  // namespace moehill
