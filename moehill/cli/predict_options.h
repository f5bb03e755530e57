// The options of `moehill predict` and `moehill roofline`: a shape, its spread and a machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/bench_options.h"
#include "moehill/predict/prediction.h"

namespace moehill {

struct PredictOptions {
  BenchOptions bench;
  std::string hardware = "probe", probe = default_probe_file(), json;
  bool compare_paths = false, crossover = false, published = false, score = false;
  int64_t validate = 0, nodes = 0;  // nodes: 0: not given
};

// Shape, pass, mode, path, layout and hardware, for any command that speaks of a point.
void declare_point(OptionSet& set, PredictOptions& options);
// --hardware and --nodes, for those that speak of a cluster.
void declare_hardware(OptionSet& set, std::string* hardware);
void declare_nodes(OptionSet& set, int64_t* nodes);

// Takes the preset, and the mode that --ep-path alone implies. Throws InputError for several distributions
// and for options of declare_point() that change nothing.
void resolve_point(const OptionSet& set, PredictOptions& options);

// Hardware by --hardware, with units (cores or chips) a device and the note of a stale probe.
struct ChosenHardware {
  Hardware hardware;
  std::string note;
};
// Throws InputError where there is no probe of this machine, or not the file.
ChosenHardware choose_hardware(const PredictOptions& options);

// The point: devices and units a device are those given, else the hardware's node. Throws InputError for k >
// E and shapes out of range.
RunConfig predicted_config(const PredictOptions& options, const Hardware& hardware, ParallelMode mode);

// The routing of a shape, with hot devices as the spread's.
Routing predicted_routing(const PredictOptions& options, const MoeShape& shape, const Hardware& hardware);

// The peak for a dtype with its instruction, and the memory's bandwidth, as one line.
std::string peak_line(const Hardware& hardware, DType dtype);

}  // namespace moehill
