// Move runner makes one move of a climb an experiment of its own. The points of that experiment are the
// move's arms, which are raced round by round. If it is possible, one process runs all arms of a round and
// takes a step of each in turn; otherwise each run has a process of its own. Runs are stored like those of a
// sweep. climb/race.h decides which arms run.
//
// The unit of a race is the round, with or without shared processes. The arms of a process share its
// operands, its warm threads and the memory that other arms have freed, so they differ less by chance. If a
// process favours one of its arms, that shows in the spread over rounds.
//
// A move that is run again takes over the stored rounds in which every arm that it wants has run. The other
// ones stay as they are, and its own rounds come after them. So a stored round has the runs of one start
// only, or of several at the same time, and no comparison pairs runs of different hours.
//
//     const MoveResult result = run_move(store, host, request, budget, show);
//     request.arms[result.race.winner()].label;
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/race.h"
#include "moehill/experiments/driver.h"

namespace moehill {

// MoveArm is one configuration.
struct MoveArm {
  std::string label;
  StoredJson options;      // of bench, as an experiment file has them
  ResolvedPoint resolved;  // the same with every default
};

// RunCost tells what processes take, from the model's predictions of their runs. A process takes the time of
// its start, however many runs share it, and the predicted time of its runs times a factor. Start and factor
// are fitted to the processes so far by least squares, and neither is below 0.
class RunCost {
 public:
  bool is_known() const { return predicted_ > 0; }
  // Takes over what a process took; `predicted_s` is the sum over its runs.
  void add(double predicted_s, double measured_s);
  // Returns the seconds of a process with these predictions. Before the first process they are all that is
  // known.
  double of(double predicted_s) const;

 private:
  // Sums over the processes.
  double n_ = 0, predicted_ = 0, measured_ = 0, predicted_squares_ = 0, products_ = 0;
};

// ClimbBudget counts the seconds that a climb has spent: all since it was started, including the work between
// its runs, and the runs of earlier starts, which the database keeps. A climb that is started again comes to
// the same decisions, as long as it needs no other runs.
struct ClimbBudget {
  double limit_s = 0;
  double reserve_s = 0;             // for the last comparison
  double stored_s = 0, own_s = 0;   // of the runs of earlier starts, and of this start
  double least_run_s = 10;          // a run may take so long, whatever is left
  double begin_s = 0;               // when this start began
  std::function<double()> clock{};  // the clock of begin_s
  RunCost cost{};                   // of the processes so far
  bool has_shared = false;          // some process so far had several runs

  double spent_s() const { return stored_s + std::max(own_s, clock() - begin_s); }
  double left_s() const { return limit_s - reserve_s - spent_s(); }
  bool affords(double seconds) const { return seconds <= left_s(); }
};

// MoveRequest is one move to run.
struct MoveRequest {
  std::string name, title, hypothesis, next_action, command;
  std::vector<std::string> expect;  // thresholds on the axis `arm`, fixed before the first round
  std::vector<MoveArm> arms;        // the incumbent first
  RaceRules rules;
  std::optional<double> memory_bytes;  // a run that takes more is out
  // No race: every arm runs in rules.most_screening rounds, and each run has a process of its own.
  bool fixed_rounds = false;
};

// MoveArmResult is what the runs of one arm gave.
struct MoveArmResult {
  std::vector<int64_t> rounds;  // with a figure, ascending
  std::vector<double> seconds;  // medians, by `rounds`
  std::string why_out;          // for an arm without a figure
  bool left_out = false;        // since the budget does not last for it
  bool check_failed = false;    // of the run without a figure
  std::optional<double> peak_fraction;
};

// MoveResult is the outcome of one move.
struct MoveResult {
  Race race;
  std::vector<MoveArmResult> arms;
  bool interrupted = false;
};

// Returns whether the budget suffices for a move to decide something: two arms screened in as few rounds as
// the rules allow, and then confirmed. Before the first run of a climb nobody knows how long runs take; then
// it is enough if the predictions fit the budget.
bool affords_move(const ClimbBudget& budget, const MoveRequest& request);

// Runs a move. Arms for whose rounds the budget does not last are left out, the last ones first, and the
// screening ends while confirming rounds still fit, if an arm is ahead. A run or a wait that lasts longer
// than the budget is ended; its round decides nothing, and a larger budget can make it. The arms of a round
// share a process if `bench -L point` takes what they differ in, if they fit into memory together, and if no
// limit asks how much memory each of them takes. If that process fails, each arm runs alone in this round;
// the arms that pass share a process again.
MoveResult run_move(Store& store, const SweepHost& host, const MoveRequest& request, ClimbBudget& budget,
                    const std::function<void(const std::string& line, bool finished)>& show);

// Adds a note to a stored experiment, unless the same note is there already.
void note_once(Store& store, const std::string& experiment, const std::string& text);

}  // namespace moehill
