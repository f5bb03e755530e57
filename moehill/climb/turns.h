// Turns: commands that run in interleaved rounds, each time in a process of its own, and the records that
// they print.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// One of several commands that take turns.
struct TurnCommand {
  std::string name;                    // for messages: "A", "the noise floor"
  std::vector<std::string> arguments;  // the program first; it prints records, a line each
};

struct Turns {
  std::vector<std::vector<std::vector<StoredJson>>> records;  // [command][round][record]
  int64_t repeated = 0;   // rounds that other work disturbed and that were run again
  int64_t disturbed = 0;  // rounds that count although it did
  bool interrupted = false;

  int64_t rounds() const { return static_cast<int64_t>(records.front().size()); }
  // Seconds of record number `index` by round: its median over the steps.
  std::vector<double> seconds_of(size_t command, size_t index) const;
};

struct TurnOptions {
  int64_t rounds = 0;
  double limit_seconds = 600;                                                     // of one run
  std::function<void(const std::string& line)> show = [](const std::string&) {};  // progress; "" at the end
  std::function<void(const Turns&)> after_round = [](const Turns&) {};            // may throw
};

// A run ended otherwise than with figures; `status` is the one that its command should end with too.
class TurnFailed : public std::runtime_error {
 public:
  TurnFailed(const std::string& message, int status) : std::runtime_error(message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// Runs `commands` in rounds, in the order of round_order(). A round in which other work took the machine is
// run again, a quarter of the rounds at most. After SIGINT or SIGTERM it has the rounds that were complete.
// Throws InputError where a command refuses its options, and TurnFailed for every other run without a figure
// that a check has passed.
Turns run_in_turn(const std::vector<TurnCommand>& commands, const TurnOptions& options);

}  // namespace moehill
