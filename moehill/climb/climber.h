// Climber: the search for the fastest configuration of a problem. Axis by axis, in the order of what the
// model expects, the configurations next to the best one so far are raced against it; what a race adopts is
// where the next one starts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/move_runner.h"
#include "moehill/climb/moves.h"
#include "moehill/machine/clock.h"

namespace moehill {

struct ClimbOptions {
  StoredJson base = StoredJson::object();  // what was asked for, as options of bench; kept in every arm
  double budget_s = 1800;
  double worth = 0.02;                      // smaller gains in speed are not looked for
  std::optional<double> memory_bytes;       // of a process, all its devices together
  std::string command;                      // that repeats this climb
  std::function<double()> clock = seconds;  // that the budget goes by
  double begin_s = seconds();               // when the budget began
};

// Configurations are tried unless the model expects them to take this many times as long as the best on their
// axis.
inline constexpr double kHopeless = 1.5;
// A climb adopts something that is not faster in at most 5 % of the cases, over so many moves at most.
inline constexpr double kFalseChoice = 0.05;
inline constexpr int kMostMoves = 12;
inline constexpr double kMostReserved = 0.15;  // of the budget, for the last comparison

struct ClimbMove {
  ClimbAxis axis = ClimbAxis::spread;
  std::string experiment;  // in the database
  std::vector<MoveArm> arms;
  std::vector<std::string> left_out;  // arms that did not run, and why
  std::optional<double>
      predicted_gain;  // of the best arm, in speed; none: the model does not tell the arms apart
  MoveResult result{Race(1, {}), {}};
  double gain = 1;  // in speed, of what was adopted; else 1
};

enum class ClimbEnd { worth, budget, interrupted, check_failed };
constexpr auto words(ClimbEnd) {
  return std::array{"nothing is left that could gain enough", "the budget is spent", "interrupted",
                    "the first configuration gives no figure"};
}

struct ClimbOutcome {
  ClimbEnd end = ClimbEnd::worth;
  std::vector<ClimbMove> moves;
  std::vector<ClimbAxis> not_begun;  // axes for which the budget did not last
  MoveArm first, winner;             // the same where nothing was adopted
  std::optional<Ratio> total;        // speed of the winner over the first's, in rounds of their own
  MoveArmResult first_result, winner_result;
  double spent_s = 0;
};

// Starts with `base` as bench would run it. Started again with the same options, build, machine and database
// it goes on where it was.
class Climber {
 public:
  // Throws InputError for what bench would refuse, for several points, and for a limit that the first
  // configuration breaks.
  Climber(const SweepHost& host, const ClimbSpace& space, ClimbOptions options);

  ClimbOutcome run(Store& store, const std::function<void(const std::string& line, bool finished)>& show);
  // The moves that a climb would begin with: their arms, and what is left out.
  std::vector<ClimbMove> plan();

 private:
  ClimbMove plan_move(ClimbAxis axis) const;
  std::vector<ClimbMove> ordered(const std::vector<ClimbAxis>& axes) const;
  bool take_move(ClimbMove move);
  MoveRequest request_of(const ClimbMove& move) const;
  void compare_with_first();
  std::string experiment_name(const std::string& part) const;
  std::optional<MoveArm> arm_of(ClimbAxis axis, const StoredJson& options) const;

  Store* store_ = nullptr;  // of run()
  const SweepHost& host_;
  const ClimbSpace& space_;
  ClimbOptions options_;
  std::string id_;
  ClimbBudget budget_;
  ClimbOutcome outcome_;
  std::function<void(const std::string&, bool)> show_;
};

}  // namespace moehill
