// Pick score tells how good --ep-path auto is. It keeps the predicted and the measured time of every run of
// expert parallelism, and counts how often the path that was taken turned out to be the right one.
// `bench` appends to it; `predict --score` shows it.
//
//     append_scores(scored_runs(options, command), default_score_file());
//     fmt::print("{}", score_report(read_scores(default_score_file())));
#pragma once

#include <string>
#include <vector>

#include "moehill/measure/results.h"

namespace moehill {

// ScoredRun is one run, predicted and measured.
struct ScoredRun {
  std::string time_utc, build, cpu;
  std::string problem;  // shape, choices, routing and layout; everything but the path
  std::string path;
  bool taken = false;      // by --ep-path auto
  int num_candidates = 0;  // paths that auto could choose from
  double predicted_s = 0, measured_s = 0;
  std::string machine = {};  // "2 cores, AVX3_ZEN4": cores and SIMD target; empty in lines of older builds
};

// Returns $MOEHILL_SCORE, or score.jsonl in the user's data folder. Empty: nothing is kept.
std::string default_score_file();

// Returns the runs of a command that are worth keeping: ep, predicted, timed, and without a failed check.
std::vector<ScoredRun> scored_runs(const BenchOptions& options, const CommandResult& command);

// Adds a line for each run, in one write, so that the lines of simultaneous runs do not mix. If the file
// cannot be written, `bench` does not fail: the function returns why, or nothing.
std::string append_scores(const std::vector<ScoredRun>& runs, const std::string& file);
// Returns no runs if there is no file. Throws InputError for a file of another kind.
std::vector<ScoredRun> read_scores(const std::string& file);

// Score sums up the runs.
struct Score {
  int num_runs = 0;                        // runs whose whole step was predicted
  double median_error = 0, p90_error = 0;  // of |predicted / measured - 1|
  int num_taken = 0;                       // of these runs, those whose path auto took
  // Problems among these for which one build measured every candidate, in these runs or earlier.
  int num_judged = 0;
  int num_within = 0;  // of these, the path taken is within 3 % of the best
};
// Scores problems. If a problem has several runs on a path, their median counts.
Score score_of(const std::vector<ScoredRun>& runs);
// Returns a sentence on how far the model was off here, so that a reader can weigh its advice. The file may
// also have runs of other CPUs, cores, SIMD targets and builds; they do not count.
std::string error_of_model(std::vector<ScoredRun> runs, const Environment& here);
// Returns the scores of each machine and build that has runs.
std::string score_report(const std::vector<ScoredRun>& runs);

}  // namespace moehill
