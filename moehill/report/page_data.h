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

// Returns the FLOPs of the model over the bytes that a step moves at least. These bytes are the weights, x
// and y; with a backward pass also the weights and x again, the gradients of the weights, dy and dx
// (docs/metrics.md, "The report"). `num_left_out` assignments were computed by no expert, so they have no
// FLOPs. Null for sizes that no run can have.
StoredJson least_intensity(const StoredJson& config, double num_left_out = 0);

}  // namespace moehill
