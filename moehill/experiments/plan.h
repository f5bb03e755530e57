// SweepPlan holds the points of an experiment file on this machine, sized and resolved, ready to be stored
// and run. Making a plan runs nothing.
//
//     const Sizing sizing = fit_budget(file, host, parse_duration("--budget", "10m"));
//     const SweepPlan plan = make_plan(file, host, sizing);
//     fmt::print("{}", plan_table(plan));
#pragma once

#include <vector>

#include "moehill/experiments/experiment_file.h"
#include "moehill/experiments/host.h"
#include "moehill/store/results.h"

namespace moehill {

// Sizing changes the sizes of the file.
struct Sizing {
  double factor = 1;   // of every point's tokens
  int64_t rounds = 0;  // 0: as in the file
  std::string note;    // in words; empty: the file's sizes
};

// SharedCommand is one process for several points. It has the options that all of them share, and for each
// point the others, as `bench -L point` takes them. Empty: each point has a process of its own.
struct SharedCommand {
  std::vector<std::string> arguments;
  std::vector<std::string> points;  // "topk=2 parallel_mode=ep"

  bool empty() const { return points.empty(); }
  // Returns the command line that measures the chosen points, in their order, or all of them.
  std::vector<std::string> of(const std::vector<size_t>& chosen) const;
  std::vector<std::string> of_all() const;
};

// Makes the command from the options of each point. Values must have no blanks.
SharedCommand shared_command(const std::vector<StoredJson>& options);

// SweepPlan is what the driver runs.
struct SweepPlan {
  StoredExperiment experiment;
  std::vector<StoredPoint> points;
  std::vector<int64_t> devices, tokens;  // [point]
  // Predicted seconds of a run after the first one of its point, which takes the check over (bench
  // --checked).
  std::vector<double> repeat_seconds;
  bool interleave = true;
  SharedCommand shared;  // of the points of a round; the driver empties it if that process fails

  // Returns the sum over so many rounds of all points; 0 if nothing is predicted.
  double predicted_seconds(int64_t rounds) const;
  double predicted_seconds() const { return predicted_seconds(experiment.rounds); }
};

// Throws InputError, with the place in the file, for what a point's command would refuse, for two points that
// are the same, and, with process = "round", for points that cannot run in one process.
SweepPlan make_plan(const ExperimentFile& file, const SweepHost& host, const Sizing& sizing);

// Returns text for a terminal: a row for each point with predicted time and memory, then "4 points, 5 rounds:
// about 2m in all".
std::string plan_table(const SweepPlan& plan);

// Returns sizes for about `budget_seconds`. To fit the budget it first takes fewer tokens (powers of two and
// three quarters of them), down to about 256 in the largest point. Then it takes fewer rounds, down to 3;
// then fewer tokens, down to 64; then one round. If that is still over budget, the note says so.
Sizing fit_budget(const ExperimentFile& file, const SweepHost& host, double budget_seconds);

// Returns 128 bits in hexadecimal: a hash of command, launcher, build, machine and options, and of process =
// "round".
std::string identity_of(const ExperimentFile& file, const SweepHost& host, const StoredJson& options);

// Reads "90s", "10m" or "2h". Throws InputError that names `option`.
double parse_duration(const std::string& option, const std::string& text);
std::string duration_text(double seconds);  // "1m30s"

}  // namespace moehill
