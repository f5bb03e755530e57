// Measured is what all rounds of a point say together. A point has one Measured for each kind of record that
// it gave.
//
//     for (const Measured& measured : measure(store.records(point.id)))
//       fmt::print("{:.3f} TF/s\n", tflops_summary(measured).median);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/record/record.h"
#include "moehill/store/store.h"

namespace moehill {

// Measured holds all figures of one (point, path). Series are by round; a round without a trusted figure is
// left out of them.
struct Measured {
  ProfilePath path = ProfilePath::none;
  // The record of the first round that has a figure; if none has one, of the first round. It tells config,
  // layout, stages and balance.
  StoredJson first;
  std::vector<int64_t> rounds;
  std::vector<double> seconds, tflops, tokens_per_s;  // by `rounds`
  std::vector<std::string> hosts;                     // by `rounds`; "": not known
  std::vector<std::string> processes;                 // ids by `rounds`; "": not known
  std::vector<double> peak_shares;                    // of the rounds that have one
  int64_t disturbed = 0;                              // rounds that other work disturbed
  std::optional<double> peak_tflops, read_gbps;       // medians over the rounds
};

// Returns the name of the host that a record was measured on; "" if it is not known.
std::string measuring_host(const StoredJson& record);

// Measures each path, in the order in which records first name it. Records of steps that left stages out do
// not count.
std::vector<Measured> measure(std::vector<StoredRecord> records);

// Returns the median of TF/s over the rounds, each of which is a process of its own, with its interval.
Summary tflops_summary(const Measured& measured);

// Returns the point that `point` is compared with: the baseline that agrees with it in the most axes. Null
// for a baseline itself, and if there is none.
const StoredPoint* baseline_of(const std::vector<StoredPoint>& points, const StoredPoint& point);

// Returns the value at a JSON pointer; null if there is none.
StoredJson at_or_null(const StoredJson& json, const std::string& pointer);

}  // namespace moehill
