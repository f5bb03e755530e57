// Measured is what all rounds of a point say together. A point has one Measured for each thing that its
// records measured: for each path of `profile`, for each value where its options name several (impl =
// "both"), and for each choice of a run that chose anew (ep_path = "auto", another file of a trace).
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

// Measured holds all figures of one thing that a point measured. Series are by round; a round without a
// trusted figure is left out of them.
struct Measured {
  ProfilePath path = ProfilePath::none;
  // The record of the first round that has a figure; if none has one, of the first round. It tells config,
  // layout, stages and balance.
  StoredJson first;
  std::vector<int64_t> rounds;
  std::vector<double> seconds, tflops, tokens_per_s;  // by `rounds`
  std::vector<Figure> cpu_seconds;                    // by `rounds`, of all processes; none: not recorded
  std::vector<std::string> hosts;                     // by `rounds`; "": not known
  std::vector<std::string> processes;                 // ids by `rounds`; "": not known
  std::vector<double> peak_shares;                    // of the rounds that have one
  int64_t disturbed = 0;                              // of these rounds, by other work
  std::optional<double> peak_tflops, read_gbps;       // medians over the rounds
};

// Returns the name of the host that a record was measured on; "" if it is not known.
std::string measuring_host(const StoredJson& record);

// Returns what a record measured: its options, and as `plan` and `weights_hash` the hashes of its routing
// plan and of a model's weights. Only figures of equal subjects and paths may go into one median.
StoredJson subject_of(const StoredJson& record);
// These members of a subject are hashes. Points that differ only in their spread have other ones as well.
inline constexpr const char* kSubjectHashes[] = {"plan", "weights_hash"};

// Returns of each subject the members in which the subjects differ, null for a member that it lacks. Hashes
// are there only where nothing else tells all of them apart.
std::vector<StoredJson> differences_of(const std::vector<StoredJson>& subjects);
// Returns "parallel_mode=ep devices=2".
std::string difference_words(const StoredJson& difference);
// Appends to equal labels the words in which their subjects differ.
std::vector<std::string> told_apart(std::vector<std::string> labels, const std::vector<StoredJson>& subjects);

// Measures each path and subject, in the order in which records first have it. Records of steps that left
// stages out do not count.
std::vector<Measured> measure(std::vector<StoredRecord> records);

// Returns the predicted seconds of a step. None if none were predicted, or if the step routes: the model has
// no stage of a router, so its error would be the router's time.
std::optional<double> predicted_seconds(const Measured& measured);

// Returns the median of TF/s over the rounds, each of which is a process of its own, with its interval.
Summary tflops_summary(const Measured& measured);

// Returns the point that `point` is compared with: the baseline that agrees with it in the most axes. Null
// for a baseline itself, and if there is none.
const StoredPoint* baseline_of(const std::vector<StoredPoint>& points, const StoredPoint& point);

// Returns the value at a JSON pointer; null if there is none.
StoredJson at_or_null(const StoredJson& json, const std::string& pointer);

}  // namespace moehill
