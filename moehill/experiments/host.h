// Host is what the room cli tells a sweep about commands, machine and build, because this room knows no
// command line. cli/sweep_host.h fills it.
//
//     const ResolvedPoint point = host.resolve(SweptCommand::bench, false, {"--topk", "8"});
//     point.options["topk"];   // 8, with every other option beside it
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/experiments/experiment_file.h"

namespace moehill {

// ResolvedPoint is a command line, checked and resolved.
struct ResolvedPoint {
  StoredJson options;  // every option with its value, as in a record's config
  int64_t tokens = 0;
  int64_t devices = 1;                   // processes for a launcher
  std::optional<double> seconds, bytes;  // predicted: time and memory of one run
  // Predicted seconds of a run whose results an earlier run checked (bench --checked). Empty: as `seconds`.
  std::optional<double> repeat_seconds;
  // Seconds of one step of a point that runs alone: as the model predicts them from the probe, and at the
  // roofline's bound. Empty without a probe, or if the probe does not cover the point.
  std::optional<double> step_seconds, bound_seconds;
};

// SweepHost is filled once for each command.
struct SweepHost {
  // Throws InputError for what the command would refuse. `launched` is true if a launcher starts the
  // processes.
  std::function<ResolvedPoint(SweptCommand command, bool launched, const std::vector<std::string>& arguments)>
      resolve;
  double usable_bytes = 0;  // memory for all points of a process together
  std::string program;      // is run as "program COMMAND ARGUMENTS --json -"
  // Identity of the program and of the machine. A point of another program or machine is another point.
  std::string build;
  std::string machine;
  std::string prediction_source;  // where predicted seconds come from, in words
  StoredJson provenance = StoredJson::object();
};

}  // namespace moehill
