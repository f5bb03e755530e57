// The score of --ep-path auto: what was predicted and measured of every run of expert parallelism, kept from
// run to run, and how often the path taken turned out to be the right one.
#pragma once

#include <string>
#include <vector>

#include "moehill/measure/results.h"

namespace moehill {

struct ScoredRun {
  std::string time_utc, build, cpu;
  std::string problem;  // shape, choices, routing and layout: all but the path
  std::string path;
  bool taken = false;      // by --ep-path auto
  int num_candidates = 0;  // paths that auto had to choose from
  double predicted_s = 0, measured_s = 0;
};

// $MOEHILL_SCORE, else score.jsonl in the user's data folder. Empty: nowhere.
std::string default_score_file();

// The runs of a command that are worth keeping: ep, predicted, timed, and not with a failed check.
std::vector<ScoredRun> scored_runs(const BenchOptions& options, const CommandResult& command);

// Adds a line a run, in one write, so that runs at the same time do not mix theirs. A file that cannot be
// written is no error of a bench: returns why, or nothing.
std::string append_scores(const std::vector<ScoredRun>& runs, const std::string& file);
// Returns no runs where there is no file. Throws InputError for a file that is none of ours.
std::vector<ScoredRun> read_scores(const std::string& file);

struct Score {
  int num_runs = 0;                        // predicted and measured
  double median_error = 0, p90_error = 0;  // of |predicted / measured - 1|
  int num_taken = 0;                       // runs whose path was taken by auto
  int num_judged = 0;  // problems of these where every candidate was measured, here or before
  int num_within = 0;  // of which the path taken is within 3 % of the best
};
// Scores problems; of several runs of a problem and path their median counts.
Score score_of(const std::vector<ScoredRun>& runs);
std::string score_report(const std::vector<ScoredRun>& runs);

}  // namespace moehill
