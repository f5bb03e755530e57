// Climber searches for the fastest configuration of a problem. It takes the axes one by one, first those from
// which the model expects most. On each axis it races the configurations next to the best one so far.
// The next race starts from the configuration that this race adopts. At last it races once more what it could
// not decide, as long as the budget lasts.
// Climber finds a local optimum: it reaches a configuration that differs in several axes only if each step on
// the way gains.
//
//     Climber climber(host, space, {.base = {{"topk", 8}}, .budget_s = 1800});
//     const ClimbOutcome outcome = climber.run(store, show);
//     outcome.total->ratio;   // speed of the winner over what was asked for
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/move_runner.h"
#include "moehill/climb/moves.h"
#include "moehill/machine/clock.h"

namespace moehill {

// At most 5 % of all climbs adopt something that is not faster. The bound holds for climbs of at most
// kMostMoves moves, of which each has an equal share, whatever it races and for how long.
inline constexpr double kFalseChoice = 0.05;
inline constexpr int kMostMoves = 24;

// ClimbOptions are the options of `moehill climb`.
struct ClimbOptions {
  StoredJson base = StoredJson::object();  // what was asked for, as options of bench; kept in every arm
  double budget_s = 1800;
  double worth = 0.02;                      // smaller gains in speed are not looked for
  std::optional<double> memory_bytes;       // of a process, with all its devices
  std::string command;                      // the command that repeats this climb
  std::function<double()> clock = seconds;  // measures the budget
  double begin_s = seconds();               // when the budget began
  double least_run_s = 10;                  // a run may take so long, whatever is left of the budget
  int most_moves = kMostMoves;              // the climb ends after so many
};

// A configuration is left out if the model expects it to take this many times as long as the best one on its
// axis.
inline constexpr double kHopeless = 1.5;
inline constexpr double kMostReserved = 0.15;  // of the budget, for the last comparison

// ClimbMove is one axis, tried from one configuration.
struct ClimbMove {
  ClimbAxis axis = ClimbAxis::spread;
  int earlier = 0;         // number of races along this axis just before, which left these arms open
  std::string experiment;  // its name in the database
  std::vector<MoveArm> arms;
  std::vector<std::string> left_out;  // arms that did not run, and why
  // The predicted gain of the best arm, in speed; empty: the model does not tell the arms apart.
  std::optional<double> predicted_gain;
  std::string next;  // the axis that follows by the model's order; empty: none is left
  MoveResult result{Race(1, {}), {}};
  double gain = 1;  // in speed, of what was adopted; otherwise 1
};

// Returns the arms of a move that its race left open: it does not exclude that they gain more than `worth`
// over what the move ended with.
std::vector<size_t> open_arms(const ClimbMove& move, double worth);
// Returns the move by which an axis is judged, the last one along it; null: it was not tried.
const ClimbMove* last_move(const std::vector<ClimbMove>& moves, ClimbAxis axis);

// Returns how many steps of each arm a process of a further race takes, at least: the steps of all arms take
// about as long as the start of the process, but there are never fewer than `iters`.
int64_t steps_of_further_race(int64_t iters, size_t num_arms, double step_seconds);

// ClimbEnd is why a climb ended.
enum class ClimbEnd { worth, budget, moves, interrupted, check_failed, run_failed, last_check_failed };
constexpr auto words(ClimbEnd) {
  return std::array{"nothing that is left to try may gain more than --worth",
                    "what is left to try does not fit the budget",
                    "it made the most moves that a climb may make",
                    "interrupted",
                    "the check of the best configuration so far failed",
                    "the best configuration so far gave no figure",
                    "a check failed in the last comparison"};
}
// Returns true if nothing has failed, so that the winner can be compared with the first configuration.
constexpr bool has_ended_well(ClimbEnd end) {
  return end == ClimbEnd::worth || end == ClimbEnd::budget || end == ClimbEnd::moves;
}

// ClimbOutcome is the whole climb.
struct ClimbOutcome {
  ClimbEnd end = ClimbEnd::worth;
  std::vector<ClimbMove> moves;
  std::vector<ClimbAxis> not_begun;  // axes for which the budget did not last
  MoveArm first, winner;             // the same where nothing was adopted
  std::optional<Ratio> total;        // speed of the winner over the first's, in rounds of their own
  std::string not_kept;              // why the last comparison speaks against the winner; empty: it does not
  MoveArmResult first_result, winner_result;
  double spent_s = 0;
};

// Returns the product of the gains of all moves. Each was measured in a race of its own.
double product_of_gains(const ClimbOutcome& outcome);

// Returns the winner as options of bench. They name its blocks: no run of a climb uses tuned ones, but bench
// would take these where a table has them.
StoredJson winner_options(const ClimbOutcome& outcome);

// The climb starts with `base` as bench would run it. If a climb is started again with the same options,
// build, machine and database, it continues.
class Climber {
 public:
  // Throws InputError for what bench would refuse, for several points, and for a limit that the first
  // configuration breaks.
  Climber(const SweepHost& host, const ClimbSpace& space, ClimbOptions options);

  ClimbOutcome run(Store& store, const std::function<void(const std::string& line, bool finished)>& show);
  // Returns the moves that a climb would begin with: their arms, and what is left out.
  std::vector<ClimbMove> plan();

 private:
  ClimbMove plan_move(ClimbAxis axis) const;
  std::vector<ClimbMove> ordered(const std::vector<ClimbAxis>& axes) const;
  bool go(std::vector<ClimbAxis> axes, const std::function<void(ClimbMove&)>& narrow);
  bool go_on_with_open();
  bool take_move(ClimbMove move, size_t others);
  std::vector<ClimbAxis> axes_before_adoption() const;
  std::vector<ClimbAxis> open_axes() const;
  bool is_anything_open() const;
  void keep_close(ClimbMove& move) const;
  void keep_open(ClimbMove& move) const;
  std::vector<MoveArm> arms_with_more_steps(const ClimbMove& move) const;
  MoveRequest request_of(const ClimbMove& move) const;
  MoveRequest request_of_last() const;
  void compare_with_first();
  std::string short_identity(const StoredJson& resolved) const;
  std::string experiment_name(const std::string& part) const;
  std::optional<MoveArm> arm_of(ClimbAxis axis, const StoredJson& options) const;
  std::optional<MoveArm> first_arm_of(ClimbAxis axis, const std::vector<StoredJson>& options) const;

  Store* store_ = nullptr;  // set by run()
  const SweepHost& host_;
  const ClimbSpace& space_;
  ClimbOptions options_;
  std::string id_;
  ClimbBudget budget_;
  ClimbOutcome outcome_;
  size_t adopted_at_ = 0;                 // number of moves when something was last adopted
  std::map<ClimbAxis, size_t> tried_at_;  // adopted_at_ when each axis was last tried
  std::function<void(const std::string&, bool)> show_;
};

}  // namespace moehill
