// The weights of a model in a command: opened before anything is measured, and what the record says of them.
#pragma once

#include <string>

#include "moehill/measure/bench_options.h"

namespace moehill {

// Finds every tensor of options.source, if there is one, and holds its shape to the options'. Throws
// InputError.
void open_weights(BenchOptions& options);

// Call it after every run is made.
RecordedLoading loading_of(const LayerWeights& weights);

// A line for eyes; empty without a source.
std::string loading_line(const BenchOptions& options);

}  // namespace moehill
