// Turns runs commands in interleaved rounds, each time in a process of its own, and collects the records that
// they print. It stores nothing; a sweep (experiments/driver.h) does. If the records of all commands have
// hashes of checked results (record/record.h), each command gets its own in later rounds, so that it need not
// check the same bits again.
//
//     const Turns turns = run_in_turn({{"A", command_a}, {"B", command_b}}, {.rounds = 12});
//     turns.seconds_of(0, 0);   // of A's first record, by round
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// TurnCommand is one of several commands that take turns.
struct TurnCommand {
  std::string name;                    // for messages: "A", "the noise floor"
  std::vector<std::string> arguments;  // the program first; it prints records, one on a line
};

// Turns is what the rounds gave.
struct Turns {
  std::vector<std::vector<std::vector<StoredJson>>> records;  // [command][round][record]
  // Rounds that were run again because other work disturbed them.
  int64_t repeated = 0;
  int64_t disturbed = 0;  // rounds that count although other work disturbed them
  bool interrupted = false;

  int64_t rounds() const { return static_cast<int64_t>(records.front().size()); }
  // Returns the seconds of record number `index` by round, each the median over its steps.
  std::vector<double> seconds_of(size_t command, size_t index) const;
};

// TurnOptions say how often and for how long.
struct TurnOptions {
  int64_t rounds = 0;
  double limit_seconds = 600;                                                     // of one run
  std::function<void(const std::string& line)> show = [](const std::string&) {};  // progress; "" at the end
  std::function<void(const std::string& line)> tell = [](const std::string&) {};  // how long all will take
  std::function<void(const Turns&)> after_round = [](const Turns&) {};            // may throw
};

// TurnFailed: a run ended without figures. `status` is the exit status that the command should end with.
class TurnFailed : public std::runtime_error {
 public:
  TurnFailed(const std::string& message, int status) : std::runtime_error(message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// Runs `commands` in rounds, in the order of round_order(). A round in which other work took the machine is
// repeated; at most a quarter of the rounds are. After SIGINT or SIGTERM the result has the rounds that were
// complete. Throws InputError if a command refuses its options, and TurnFailed for every other run without a
// figure that passed its check.
Turns run_in_turn(const std::vector<TurnCommand>& commands, const TurnOptions& options);

}  // namespace moehill
