// Host: what the sweep must be told about commands, machine and build by the floor above.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/experiments/experiment_file.h"

namespace moehill {

// A command line, checked and resolved.
struct ResolvedPoint {
  StoredJson options;  // every option with its value, as in a record's config
  int64_t tokens = 0;
  int64_t devices = 1;                   // processes for a launcher
  std::optional<double> seconds, bytes;  // predicted, of one run and of its memory
  // Seconds of one step of a point that is alone: predicted by the model from the probe, and at its bound by
  // the roofline. Empty without a probe, or where it does not cover the point.
  std::optional<double> step_seconds, bound_seconds;
};

struct SweepHost {
  // Throws InputError for what the command would refuse. `launched`: a launcher starts its processes.
  std::function<ResolvedPoint(SweptCommand command, bool launched, const std::vector<std::string>& arguments)>
      resolve;
  std::string program;            // runs "program COMMAND ARGUMENTS --json -"
  std::string build;              // identity of the program,
  std::string machine;            // and of the machine: points of others are other points
  std::string prediction_source;  // where predicted seconds come from, in words
  StoredJson provenance = StoredJson::object();
};

}  // namespace moehill
