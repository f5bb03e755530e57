// Loading opens the weights of a model for a command, before anything is measured, and describes them for the
// record. The room weights reads the files.
//
//     open_weights(options);                   // InputError if a tensor is missing or has another shape
//     ... make the runs ...
//     record.loading = loading_of(*options.layer_weights);
#pragma once

#include <string>

#include "moehill/measure/bench_options.h"
#include "moehill/record/record.h"

namespace moehill {

// Finds every tensor of options.source, if there is a source. Throws InputError if a tensor's shape does not
// fit the options.
void open_weights(BenchOptions& options);

// Call it after all runs are made, because runs load the weights.
RecordedLoading loading_of(const LayerWeights& weights);

// Returns a line for people; empty without a source.
std::string loading_line(const BenchOptions& options);

}  // namespace moehill
