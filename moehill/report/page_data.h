// Page data is what the HTML report shows, as one JSON value, from a database alone.
//
//   {experiments: [{title, ..., points: [{label, axes, state, results: [{tflops, ...}]}]}], machine: {...}}
#pragma once

#include <vector>

#include "moehill/report/published.h"
#include "moehill/store/store.h"

namespace moehill {

// Returns the value. The same database and published numbers give the same value.
StoredJson page_data(Store& store, const std::vector<PublishedRow>& published);

// Returns FLOPs of the model over the bytes that a step moves at least: weights read in forward and in
// backward and their gradients written, x and y (and dy, dx) once (docs/metrics.md, "The report"). Null if a
// size is missing.
StoredJson least_intensity(const StoredJson& config);

}  // namespace moehill
