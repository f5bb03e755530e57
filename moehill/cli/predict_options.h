// This header declares options of `moehill predict`, `roofline`, `balance` and `advise`: a shape, its spread
// and a machine. They describe a point that is not run, so the hardware comes from a file or from this
// machine's probe.
//
//     PredictOptions options;
//     OptionSet set("moehill demo", "Predicts.", {"moehill demo --tokens 2048"});
//     declare_point(set, options);
//     if (!set.parse(args)) return kExitDone;
//     resolve_point(set, options);
//     const Hardware hardware = choose_hardware(options).hardware;
//     const RunConfig config = predicted_config(options, hardware, ParallelMode::ep);
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
  int64_t validate = 0, nodes = 0;  // nodes: 0 if it was not given
};

// Declares shape, pass, mode, path, layout and hardware.
void declare_point(OptionSet& set, PredictOptions& options);
// Declares the same for a command of ep alone: its mode is ep, so there is no --parallel-mode.
void declare_ep_point(OptionSet& set, PredictOptions& options);
// These declare --hardware and --nodes.
void declare_hardware(OptionSet& set, std::string* hardware);
void declare_nodes(OptionSet& set, int64_t* nodes);

// Throws InputError for what would have no effect: distributions after the first, and a probe's file beside
// other hardware. resolve_point() calls it.
void refuse_unused(const OptionSet& set, const PredictOptions& options);
// Throws InputError for --seed beside a trace: here the seed only draws a routing, which the trace has
// already.
void refuse_seed_of_trace(const OptionSet& set, const DistributionOptions& distribution);

// Applies the preset, and the mode `ep` if --ep-path was given without a mode. Throws InputError for several
// distributions and for options of declare_point() that have no effect.
void resolve_point(const OptionSet& set, PredictOptions& options);

// ChosenHardware is the hardware that --hardware names, with a note if it is an old probe.
struct ChosenHardware {
  Hardware hardware;
  std::string note;
};
// Throws InputError if this machine has not been probed, or if there is no such file.
ChosenHardware choose_hardware(const std::string& name, const std::string& probe = default_probe_file());
ChosenHardware choose_hardware(const PredictOptions& options);

// Returns the point. Its devices, and the units (cores or chips) of a device, come from the options or else
// from the hardware's node. Throws InputError for top-k > experts, for shapes out of range, and for more
// devices or units than named hardware has.
RunConfig predicted_config(const PredictOptions& options, const Hardware& hardware, ParallelMode mode);

// Returns the routing of the shape. A distribution with a hot device refers to the devices of ep.
Routing predicted_routing(const PredictOptions& options, const MoeShape& shape, const Hardware& hardware);

// Returns a sentence on how far the model was from times measured on this hardware.
std::string error_of_model(const PredictOptions& options);

// Returns a line with the peak for a dtype, its instruction, and the bandwidth of the memory.
std::string peak_line(const Hardware& hardware, DType dtype);

}  // namespace moehill
