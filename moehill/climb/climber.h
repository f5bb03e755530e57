// Climber searches for the fastest configuration of a problem. It takes the axes one by one, first those from
// which the model expects most. On each axis it races the configurations next to the best one so far.
// The next race starts from the configuration that this race adopts.
// Climber finds a local optimum: it reaches a configuration that differs in several axes only if each step on
// the way gains.
//
//     Climber climber(host, space, {.base = {{"topk", 8}}, .budget_s = 1800});
//     const ClimbOutcome outcome = climber.run(store, show);
//     outcome.total->ratio;   // speed of the winner over what was asked for
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/move_runner.h"
#include "moehill/climb/moves.h"
#include "moehill/machine/clock.h"

namespace moehill {

// At most 5 % of all climbs adopt something that is not faster. The bound holds for climbs of at most
// kMostMoves moves.
inline constexpr double kFalseChoice = 0.05;
inline constexpr int kMostMoves = 12;

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
  int most_moves = kMostMoves;              // that many at most
};

// A configuration is left out if the model expects it to take this many times as long as the best one on its
// axis.
inline constexpr double kHopeless = 1.5;
inline constexpr double kMostReserved = 0.15;  // of the budget, for the last comparison

// ClimbMove is one axis, tried from one configuration.
struct ClimbMove {
  ClimbAxis axis = ClimbAxis::spread;
  std::string experiment;  // its name in the database
  std::vector<MoveArm> arms;
  std::vector<std::string> left_out;  // arms that did not run, and why
  // The predicted gain of the best arm, in speed; empty: the model does not tell the arms apart.
  std::optional<double> predicted_gain;
  MoveResult result{Race(1, {}), {}};
  double gain = 1;  // in speed, of what was adopted; otherwise 1
};

// ClimbEnd is why a climb ended.
enum class ClimbEnd { worth, budget, moves, interrupted, check_failed, run_failed, last_check_failed };
constexpr auto words(ClimbEnd) {
  return std::array{"no axis is left to try",
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
  bool take_move(ClimbMove move);
  MoveRequest request_of(const ClimbMove& move) const;
  MoveRequest request_of_last() const;
  void compare_with_first();
  std::string short_identity(const StoredJson& resolved) const;
  std::string experiment_name(const std::string& part) const;
  std::optional<MoveArm> arm_of(ClimbAxis axis, const StoredJson& options) const;

  Store* store_ = nullptr;  // set by run()
  const SweepHost& host_;
  const ClimbSpace& space_;
  ClimbOptions options_;
  std::string id_;
  ClimbBudget budget_;
  ClimbOutcome outcome_;
  std::function<void(const std::string&, bool)> show_;
};

}  // namespace moehill
