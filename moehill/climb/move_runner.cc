// Implementation of climb/move_runner.h: a sweep (experiments/driver.h) whose points are the arms, and whose
// rounds a Race decides.
#include "moehill/climb/move_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "moehill/base/table.h"
#include "moehill/experiments/child.h"
#include "moehill/experiments/matrix.h"
#include "moehill/quiet/environment.h"
#include "moehill/record/record.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

constexpr double kLimitSeconds = 600;  // of one run

SweepPlan plan_of(const MoveRequest& request, const SweepHost& host) {
  SweepPlan plan;
  StoredExperiment& e = plan.experiment;
  e.name = request.name;
  e.title = request.title;
  e.hypothesis = request.hypothesis;
  e.expect = request.expect;
  e.next_action = request.next_action;
  // A move is stored like a sweep: its arms are the points, and the first one is the baseline.
  e.baseline = {{"arm", request.arms[0].label}};
  e.rounds = request.rules.most_screening + (request.fixed_rounds ? 0 : request.rules.looks.back());
  e.timeout_s = kLimitSeconds;
  e.sizing = {{"command", request.command}};
  for (const MoveArm& arm : request.arms) {
    StoredPoint point;
    point.identity = identity_of({}, host, arm.resolved.options);
    point.position = static_cast<int64_t>(plan.points.size());
    point.label = arm.label;
    point.options = arm.resolved.options;
    point.axes = {{"arm", arm.label}};
    point.arguments = arguments_of(arm.options);
    point.is_baseline = plan.points.empty();
    point.predicted_seconds = arm.resolved.seconds;
    point.predicted_bytes = arm.resolved.bytes;
    plan.points.push_back(point);
    plan.devices.push_back(arm.resolved.devices);
    plan.tokens.push_back(arm.resolved.tokens);
  }
  return plan;
}

double expected_seconds(const ClimbBudget& budget, const MoveRequest& request, size_t arm) {
  return budget.expected(request.arms[arm].resolved.seconds.value_or(0));
}

// MoveRunner runs one move.
class MoveRunner {
 public:
  MoveRunner(Store& store, const SweepHost& host, const MoveRequest& request, ClimbBudget& budget)
      : store_(store),
        host_(host),
        request_(request),
        budget_(budget),
        plan_(plan_of(request, host)),
        result_{Race(request.arms.size(), request.rules), std::vector<MoveArmResult>(request.arms.size())} {}

  MoveResult run(const std::function<void(const std::string&, bool)>& show) {
    DriverOptions driver;
    driver.show = [&](const std::string& line, bool finished) {
      show(fmt::format("{}, {} of {} spent: {}", request_.title, duration_text(budget_.spent_s()),
                       duration_text(budget_.limit_s), line),
           finished);
    };
    driver.wants = [&](size_t arm, int64_t round) { return begin_run(arm, round); };
    driver.goes_on = [&](int64_t round) { return end_round(round); };
    driver.repeats = [&](double seconds) { return budget_.affords(seconds); };
    const SweepOutcome outcome = run_sweep(store_, plan_, host_, driver);
    result_.interrupted = outcome.end == SweepEnd::interrupted;
    result_.check_failed = outcome.check_failed;
    return result_;
  }

 private:
  // Attempts are all attempts at one run: a disturbed one and its repeat.
  struct Attempts {
    double seconds = 0;
    int64_t number = 0;
  };
  struct Begun {
    size_t arm = 0;
    double at = 0;    // by the budget's clock
    Attempts stored;  // by an earlier start
  };

  bool wants(size_t arm) const { return request_.fixed_rounds || result_.race.wants(arm); }

  // Says whether an arm runs now. A round for which the budget does not last is cut short and decides
  // nothing. Runs of an earlier start are not made again, so they cost nothing.
  bool begin_run(size_t arm, int64_t round) {
    account(round);
    if (!wants(arm) || cut_) return false;
    const Attempts stored = attempts_at(arm, round);
    if (stored.number == 0) {
      if (round == 0 && !affords_arm(arm)) {
        result_.race.leave_out(arm);
        result_.arms[arm].why_out = "the budget does not last for its rounds";
        return false;
      }
      cut_ = !budget_.affords(expected(arm));
      if (cut_) return false;
    }
    this_round_.push_back({arm, budget_.clock(), stored});
    budget_.stored_s += stored.seconds;
    return true;
  }

  Attempts attempts_at(size_t arm, int64_t round) const {
    Attempts sum;
    for (const StoredAttempt& attempt : store_.attempts(plan_.points[arm].id)) {
      if (attempt.round != round) continue;
      sum.seconds += attempt.seconds;
      ++sum.number;
    }
    return sum;
  }

  // Books the runs of this round that have ended since the last call.
  void account(int64_t round) {
    for (; accounted_ < this_round_.size(); ++accounted_) {
      const auto& [arm, at, stored] = this_round_[accounted_];
      const Attempts all = attempts_at(arm, round);
      budget_.own_s += all.seconds - stored.seconds;
      budget_.measured_s += std::max(all.seconds, budget_.clock() - at);
      // The prediction counts once, however often other work made the run repeat. The ratio to the measured
      // seconds then is the cost of a run with its repeats.
      if (all.number > 0) budget_.predicted_s += request_.arms[arm].resolved.seconds.value_or(0);
    }
  }

  // Takes over the results of the round. Returns whether another round follows.
  bool end_round(int64_t round) {
    account(round);
    std::vector<std::optional<double>> seconds(request_.arms.size());
    for (const Begun& begun : this_round_) seconds[begun.arm] = figure_of(begun.arm, round);
    this_round_.clear();
    accounted_ = 0;
    Race& race = result_.race;
    if (cut_) race.end();
    if (request_.fixed_rounds)
      return !cut_ && round + 1 < request_.rules.most_screening && budget_.affords(seconds_of_round());
    if (!race.over()) race.add_round(seconds);
    if (!race.over() && !goes_on()) race.end();
    return !race.over();
  }

  double expected(size_t arm) const { return expected_seconds(budget_, request_, arm); }

  double seconds_of_round() const {
    double sum = 0;
    for (size_t i = 0; i < request_.arms.size(); ++i) sum += wants(i) ? expected(i) : 0;
    return sum;
  }

  // Returns the seconds of the confirming rounds of the incumbent and `arm` up to the first look at them.
  double seconds_to_confirm(size_t arm) const {
    return static_cast<double>(request_.rules.looks.front()) * (expected(0) + expected(arm));
  }

  // Returns in the first round whether the budget suffices to screen the arm with those that have begun, and
  // to confirm it. Before the first run of a climb nobody knows how long runs take.
  bool affords_arm(size_t arm) const {
    if (request_.fixed_rounds || arm == 0 || budget_.predicted_s <= 0) return true;
    const double rounds = static_cast<double>(request_.rules.least_screening);
    double seconds = rounds * expected(arm) + seconds_to_confirm(arm);
    for (const Begun& begun : this_round_) seconds += (rounds - 1) * expected(begun.arm);
    return budget_.affords(seconds);
  }

  // Returns after a round whether there is time for another one. A screening that leaves no time to confirm
  // would be in vain.
  bool goes_on() {
    Race& race = result_.race;
    const double round = seconds_of_round();
    if (race.is_confirming()) return budget_.affords(static_cast<double>(race.rounds_to_decision()) * round);
    double confirm = 0;
    for (size_t i = 1; i < request_.arms.size(); ++i)
      if (wants(i)) confirm = std::max(confirm, seconds_to_confirm(i));
    if (budget_.affords(static_cast<double>(race.rounds_to_decision()) * round + confirm)) return true;
    return budget_.affords(confirm) && race.confirm_best();
  }

  std::optional<double> figure_of(size_t i, int64_t round) {
    MoveArmResult& arm = result_.arms[i];
    for (const StoredRecord& record : store_.records(plan_.points[i].id)) {
      if (record.round != round) continue;
      const Figure seconds = part_of<RecordedTimes>(record.json, "time_s").median;
      if (!seconds || !tflops_of(record.json)) continue;
      const double bytes = record.json.at("memory").value("peak_rss_bytes", 0.0);
      // A run over the memory limit has no figure, so its arm is out.
      if (request_.memory_bytes && bytes > *request_.memory_bytes) {
        arm.why_out =
            fmt::format("it took {}, over the limit of {}", gib(bytes), gib(*request_.memory_bytes));
        return std::nullopt;
      }
      arm.seconds.push_back(*seconds);
      arm.peak_fraction = part_of<RecordedPeak>(record.json, "peak").fraction;
      return *seconds;
    }
    for (const StoredAttempt& attempt : store_.attempts(plan_.points[i].id))
      if (attempt.round == round)
        arm.why_out = fmt::format("{}, status {}: {}", name_of(attempt.state), attempt.exit_status,
                                  error_line(attempt.output_tail));
    return std::nullopt;
  }

  Store& store_;
  const SweepHost& host_;
  const MoveRequest& request_;
  ClimbBudget& budget_;
  SweepPlan plan_;
  MoveResult result_;
  std::vector<Begun> this_round_;  // runs, in their order
  size_t accounted_ = 0;           // of them
  bool cut_ = false;
};

}  // namespace

bool affords_move(const ClimbBudget& budget, const MoveRequest& request) {
  const double incumbent = expected_seconds(budget, request, 0);
  if (budget.predicted_s <= 0) return budget.affords(incumbent);
  double other = std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < request.arms.size(); ++i)
    other = std::min(other, expected_seconds(budget, request, i));
  const double rounds = static_cast<double>(request.rules.least_screening + request.rules.looks.front());
  return budget.affords(rounds * (incumbent + other));
}

MoveResult run_move(Store& store, const SweepHost& host, const MoveRequest& request, ClimbBudget& budget,
                    const std::function<void(const std::string& line, bool finished)>& show) {
  return MoveRunner(store, host, request, budget).run(show);
}

void note_once(Store& store, const std::string& experiment, const std::string& text) {
  const std::optional<StoredExperiment> found = store.find_experiment(experiment);
  if (!found) return;
  const std::vector<StoredNote> notes = store.notes(found->id);
  const auto same = [&](const StoredNote& note) { return note.text == text; };
  if (std::none_of(notes.begin(), notes.end(), same)) store.add_note({0, found->id, utc_now(), text});
}

}  // namespace moehill
