// Implementation of climb/turns.h: the loop over rounds and commands, and what the end of a command means.
#include "moehill/climb/turns.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/bench/schedule.h"
#include "moehill/experiments/checked_records.h"
#include "moehill/experiments/child.h"
#include "moehill/experiments/plan.h"
#include "moehill/machine/clock.h"
#include "moehill/quiet/disturbance.h"
#include "moehill/quiet/pace.h"
#include "moehill/record/record.h"

namespace moehill {
namespace {

// Exit statuses of `moehill bench`, beside kCheckFailedStatus.
constexpr int kBadInputStatus = 2, kRunFailedStatus = 5;

std::vector<StoredJson> records_of(const TurnCommand& command, const ChildResult& child) {
  if (child.end == ChildEnd::exited && child.status == kBadInputStatus)
    throw error_at(command.name + " refuses its options", error_line(child.error_tail));
  const bool ended_well = child.end == ChildEnd::exited && child.status == 0;
  std::vector<StoredJson> records;
  std::istringstream lines(child.output);
  for (std::string line; ended_well && std::getline(lines, line);) {
    const std::optional<StoredJson> record = object_in(line);
    if (!record || !tflops_of(*record)) {
      records.clear();
      break;
    }
    records.push_back(*record);
  }
  if (!records.empty()) return records;
  const int status = child.status == kCheckFailedStatus ? kCheckFailedStatus : kRunFailedStatus;
  throw TurnFailed(fmt::format("a run of {} gave no figure that a check has passed (status {}): {}",
                               command.name, child.status, error_line(child.error_tail)),
                   status);
}

// TurnRunner runs all rounds.
class TurnRunner {
 public:
  TurnRunner(const std::vector<TurnCommand>& commands, const TurnOptions& options)
      : commands_(commands),
        options_(options),
        pace_(static_cast<double>(options.rounds) * static_cast<double>(commands.size()),
              fmt::format("{} of {}", count_text(options.rounds, "round"),
                          count_text(std::ssize(commands), "process", "processes")),
              options.tell) {
    turns_.records.resize(commands.size());
    checked_.resize(commands.size());
  }

  Turns run() {
    const double begin = seconds();
    while (turns_.rounds() < options_.rounds) {
      const bool disturbed = run_round(begin);
      if (turns_.interrupted) break;
      if (disturbed && turns_.repeated < options_.rounds / 4) {
        ++turns_.repeated;
        continue;
      }
      turns_.disturbed += disturbed ? 1 : 0;
      for (size_t i = 0; i < commands_.size(); ++i) turns_.records[i].push_back(round_[i]);
      options_.after_round(turns_);
    }
    options_.show("");
    return turns_;
  }

 private:
  // Runs one round. Returns whether other work disturbed one of its runs.
  bool run_round(double begin) {
    bool disturbed = false;
    round_.assign(commands_.size(), {});
    for (const int i : round_order(turns_.rounds(), static_cast<int>(commands_.size()))) {
      const TurnCommand& command = commands_[static_cast<size_t>(i)];
      show(command.name, begin);
      const double load = load_average();
      const MachineTimes before = machine_times();
      const ChildResult child =
          run_child(arguments_of(static_cast<size_t>(i)), options_.limit_seconds, stop_.file());
      disturbed = disturbed || !disturbance_between(before, machine_times(), child.cpu_seconds, load).empty();
      turns_.interrupted = child.end == ChildEnd::stopped || stop_.wait(0);
      if (turns_.interrupted) return disturbed;
      round_[static_cast<size_t>(i)] = records_of(command, child);
      keep_checked(static_cast<size_t>(i));
      pace_.done(1);
    }
    return disturbed;
  }

  // Returns the command, with what its first run has checked. If another command has to check in every run,
  // for example since its build is older, all do. Otherwise one would begin its steps on a machine that the
  // check has just heated, and the other would not.
  std::vector<std::string> arguments_of(size_t i) {
    std::vector<std::string> arguments = commands_[i].arguments;
    const bool all_have =
        std::none_of(checked_.begin(), checked_.end(),
                     [](const std::vector<StoredJson>& records) { return records.empty(); });
    const std::string file = all_have ? checked_records_.write(checked_[i]) : "";
    if (!file.empty()) arguments.insert(arguments.end(), {"--checked", file});
    return arguments;
  }

  void keep_checked(size_t i) {
    if (!checked_[i].empty()) return;
    for (const StoredJson& record : round_[i]) {
      const std::optional<StoredJson> parts = checked_parts(record);
      if (parts) checked_[i].push_back(*parts);
    }
  }

  void show(const std::string& name, double begin) const {
    const int64_t done = turns_.rounds();
    std::string left;
    if (done > 0) {
      const double each = (seconds() - begin) / static_cast<double>(done + turns_.repeated);
      left = fmt::format(", {} left", duration_text(each * static_cast<double>(options_.rounds - done)));
    }
    options_.show(fmt::format("round {} of {}: {}{}", done + 1, options_.rounds, name, left));
  }

  const std::vector<TurnCommand>& commands_;
  const TurnOptions& options_;
  Pace pace_;
  StopSignals stop_;
  Turns turns_;
  std::vector<std::vector<StoredJson>> round_;    // [command][record]
  std::vector<std::vector<StoredJson>> checked_;  // the same, of the first run that was checked
  MemoryFile checked_records_;
};

}  // namespace

std::vector<double> Turns::seconds_of(size_t command, size_t index) const {
  std::vector<double> seconds;
  for (const std::vector<StoredJson>& round : records[command])
    seconds.push_back(part_of<RecordedTimes>(round.at(index), "time_s").median.value());
  return seconds;
}

Turns run_in_turn(const std::vector<TurnCommand>& commands, const TurnOptions& options) {
  return TurnRunner(commands, options).run();
}

}  // namespace moehill
