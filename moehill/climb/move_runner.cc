// Implementation of climb/move_runner.h: a sweep (experiments/driver.h) whose points are the arms, and whose
// rounds a Race decides.
#include "moehill/climb/move_runner.h"

#include <fmt/format.h>

#include <algorithm>

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
    if (!affords_another()) result_.race.end();
    if (!request_.fixed_rounds && result_.race.over()) return result_;
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
  bool wants(size_t arm) const { return request_.fixed_rounds || result_.race.wants(arm); }

  // Says whether an arm runs now. A round that the budget does not last for is cut short and decides nothing.
  // Runs of an earlier start are not made again, so they cost nothing.
  bool begin_run(size_t arm, int64_t round) {
    if (!wants(arm) || cut_) return false;
    double stored = 0, round_s = run_seconds_;
    int64_t runs = runs_, runs_stored = 0;
    add_runs(arm, round, stored, runs_stored);
    for (const size_t before : this_round_) add_runs(before, round, round_s, runs);
    budget_.own_s = own_before_round_ + round_s - run_seconds_ - stored_this_round_;
    const double next =
        runs > 0 ? round_s / static_cast<double>(runs) : request_.arms[arm].resolved.seconds.value_or(0);
    cut_ = runs_stored == 0 && !budget_.affords(next);
    if (cut_) return false;
    this_round_.push_back(arm);
    stored_this_round_ += stored;
    budget_.stored_s += stored;
    return true;
  }

  void add_runs(size_t arm, int64_t round, double& seconds, int64_t& runs) {
    for (const StoredAttempt& attempt : store_.attempts(plan_.points[arm].id)) {
      if (attempt.round != round) continue;
      seconds += attempt.seconds;
      ++runs;
    }
  }

  // Takes over what the round gave. Returns whether another one follows.
  bool end_round(int64_t round) {
    std::vector<std::optional<double>> seconds(request_.arms.size());
    const double before = run_seconds_;
    for (const size_t i : this_round_) {
      seconds[i] = figure_of(i, round);
      add_runs(i, round, run_seconds_, runs_);
    }
    budget_.own_s = own_before_round_ + run_seconds_ - before - stored_this_round_;
    own_before_round_ = budget_.own_s;
    stored_this_round_ = 0;
    this_round_.clear();
    if (cut_) result_.race.end();
    if (request_.fixed_rounds) return !cut_ && round + 1 < request_.rules.most_screening && affords_another();
    if (!cut_) result_.race.add_round(seconds);
    if (!result_.race.over() && !affords_another()) result_.race.end();
    return !result_.race.over();
  }

  // Predicts a round from the runs of this move so far, or by the model if there are none. Before the first
  // round it asks for as many rounds as can decide anything.
  bool affords_another() const {
    double next = 0;
    for (size_t i = 0; i < request_.arms.size(); ++i) {
      if (!wants(i)) continue;
      next += runs_ > 0 ? run_seconds_ / static_cast<double>(runs_)
                        : request_.arms[i].resolved.seconds.value_or(0);
    }
    const double rounds = runs_ > 0 ? 1 : static_cast<double>(request_.rules.least_screening);
    return budget_.affords(next * rounds);
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
  double run_seconds_ = 0;
  int64_t runs_ = 0;
  std::vector<size_t> this_round_;                                   // arms that have run in this round
  double own_before_round_ = budget_.own_s, stored_this_round_ = 0;  // seconds
  bool cut_ = false;
};

}  // namespace

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
