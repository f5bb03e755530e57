// Implementation of climb/move_runner.h: a sweep (experiments/driver.h) whose points are the arms, and whose
// rounds a Race decides.
#include "moehill/climb/move_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/experiments/checked_records.h"
#include "moehill/experiments/child.h"
#include "moehill/experiments/matrix.h"
#include "moehill/quiet/environment.h"
#include "moehill/record/record.h"
#include "moehill/report/measured.h"
#include "moehill/store/expectation.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

constexpr double kLimitSeconds = 600;  // of one run

// Lets the arms of a round share a process, if one process can measure all of them.
void share_process(const MoveRequest& request, const SweepHost& host, SweepPlan& plan) {
  // A process tells how much memory it took, and not how much each arm took.
  if (request.fixed_rounds || request.memory_bytes) return;
  std::vector<StoredJson> options;
  for (const MoveArm& arm : request.arms) options.push_back(arm.options);
  const SharedCommand command = shared_command(options);
  try {
    const ResolvedPoint all = host.resolve(SweptCommand::bench, false, command.of_all());
    const size_t num_points = all.options.value("points", StoredJson::array()).size();
    if (num_points == options.size() && all.bytes.value_or(0) <= host.usable_bytes) plan.shared = command;
  } catch (const InputError&) {
    // `bench -L` refuses some options, such as the weights of a model.
  }
}

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
  share_process(request, host, plan);
  if (!plan.shared.empty()) ++e.rounds;  // for the trial
  return plan;
}

// With a limit of memory every run checks its results. The check takes memory, so an arm could otherwise be
// over the limit in one run and below it in the next.
bool takes_checks_over(const MoveRequest& request) { return !request.memory_bytes.has_value(); }

// Returns the predicted seconds of a run. `checked`: an earlier run has checked its results.
double predicted_of(const MoveRequest& request, size_t arm, bool checked) {
  const ResolvedPoint& resolved = request.arms[arm].resolved;
  const double seconds = resolved.seconds.value_or(0);
  return checked && takes_checks_over(request) ? resolved.repeat_seconds.value_or(seconds) : seconds;
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
        result_{Race(request.arms.size(), request.rules), std::vector<MoveArmResult>(request.arms.size())},
        checked_(request.arms.size()) {}

  MoveResult run(const std::function<void(const std::string&, bool)>& show) {
    DriverOptions driver;
    driver.show = [&](const std::string& line, bool finished) {
      show(fmt::format("{}, {} of {} spent: {}", request_.title, duration_text(budget_.spent_s()),
                       duration_text(budget_.limit_s), line),
           finished);
    };
    driver.number_of = [&](int64_t) { return begin_round(); };
    driver.wants = [&](size_t arm, int64_t) { return begin_run(arm); };
    driver.goes_on = [&](int64_t round) { return end_round(round); };
    // A disturbed trial still tells how long runs take.
    driver.affords = [&](double seconds) { return !is_trial_ && budget_.affords(seconds); };
    driver.limit = [&](const std::vector<size_t>& arms) { return limit_of_run(arms); };
    driver.waits = [&] { return budget_.left_s() > 0; };
    driver.takes_checks_over = takes_checks_over(request_);
    result_.interrupted = run_sweep(store_, plan_, host_, driver).end == SweepEnd::interrupted;
    return result_;
  }

 private:
  // Runs is what the database has of an arm in one round.
  struct Runs {
    double seconds = 0;  // of all attempts, such as a disturbed one and its repeat
    bool has_result = false;
    bool gave_up = false;  // in whatever round: an arm that has failed is not tried again
    bool is_known() const { return has_result || gave_up; }
  };
  // Took is what one run took, with the repeat of a disturbed one.
  struct Took {
    size_t arm;
    double seconds;
  };
  struct Begun {
    size_t arm = 0;
    std::optional<double> at;  // by the budget's clock, after it waited for its turn
    size_t num_sharing = 1;    // arms of its process
  };

  bool wants(size_t arm) const {
    if (is_trial_) return arm == 0;
    return request_.fixed_rounds || result_.race.wants(arm);
  }
  bool is_first() const { return result_.race.rounds() == 0; }
  bool shares_process() const { return !plan_.shared.empty(); }

  Runs runs_of(size_t arm) const {
    Runs runs;
    for (const StoredAttempt& attempt : store_.attempts(plan_.points[arm].id)) {
      runs.gave_up = runs.gave_up || has_failed(attempt.state);
      if (attempt.round != number_) continue;
      runs.seconds += attempt.seconds;
      runs.has_result = runs.has_result || attempt.counts;
    }
    return runs;
  }

  // Returns the first number that no stored round has, whatever arms it had.
  int64_t next_number() const {
    std::vector<StoredPoint> points = store_.old_points(plan_.points[0].experiment_id);
    points.insert(points.end(), plan_.points.begin(), plan_.points.end());
    int64_t next = 0;
    for (const StoredPoint& point : points)
      for (const StoredAttempt& attempt : store_.attempts(point.id)) next = std::max(next, attempt.round + 1);
    return next;
  }

  // Returns under which number a round is stored: that of the next round in the database which can be taken
  // over, or else a new one.
  int64_t begin_round() {
    const int64_t next = next_number();
    is_stored_ = is_trial_ = false;
    for (++number_; number_ < next; ++number_) {
      find_checked();
      book_stored();
      is_stored_ = take_over();
      if (is_stored_) break;
    }
    find_checked();
    accounted_ = this_round_.size();
    is_trial_ = !is_stored_ && needs_trial();
    return number_;
  }

  // Finds the arms whose results were checked before this round, so that a run of them takes less time.
  void find_checked() {
    for (size_t arm = 0; arm < plan_.points.size(); ++arm)
      checked_[arm] = checked_[arm] || !checked_records(store_, plan_.points[arm], number_).empty();
  }

  // Returns whether the incumbent first runs alone, in a round that the race does not see. Before the first
  // run of a climb nobody knows how long runs take, and a process of all arms may last too long.
  bool needs_trial() const {
    return shares_process() && is_first() && !budget_.cost.is_known() && predicted_of(request_, 0, false) > 0;
  }

  // Books the runs of a stored round. They were paid for, whether they can be taken over or not.
  void book_stored() {
    std::vector<Took> took;
    for (size_t arm = 0; arm < request_.arms.size(); ++arm) {
      const Runs runs = runs_of(arm);
      budget_.stored_s += runs.seconds;
      if (runs.has_result) took.push_back({arm, runs.seconds});
    }
    learn(took, shares_process() && took.size() > 1);
  }

  // Takes over a stored round if every arm that this round wants has run in it. Arms that the budget left out
  // of the first round may be missing, if it leaves them out now, too.
  bool take_over() {
    std::vector<size_t> missing;
    for (size_t arm = 0; arm < request_.arms.size(); ++arm) {
      if (!wants(arm)) continue;
      if (runs_of(arm).is_known())
        this_round_.push_back({arm, std::nullopt});
      else
        missing.push_back(arm);
    }
    accounted_ = this_round_.size();
    const bool serves = std::none_of(missing.begin(), missing.end(),
                                     [&](size_t arm) { return !is_first() || affords_arm(arm); });
    if (!serves) this_round_.clear();
    for (size_t i = 0; serves && i < missing.size(); ++i) leave_out(missing[i]);
    return serves;
  }

  void leave_out(size_t arm) {
    result_.race.leave_out(arm);
    result_.arms[arm].left_out = true;
    result_.arms[arm].why_out = "the budget does not last for its rounds";
  }

  // Says whether an arm runs now. A round that the budget does not last for is cut short and decides nothing.
  // In a round that was taken over no arm runs again, so it costs nothing.
  bool begin_run(size_t arm) {
    // Arms that share a process begin together, after the last of them was asked for.
    if (!shares_process()) account();
    if (!wants(arm) || cut_) return false;
    if (is_stored_) return true;
    if (is_first() && !affords_arm(arm)) {
      leave_out(arm);
      return false;
    }
    std::vector<size_t> next = {arm};
    for (size_t i = accounted_; i < this_round_.size(); ++i) next.push_back(this_round_[i].arm);
    cut_ = !budget_.affords(seconds_of(next, When::now));
    if (!cut_) this_round_.push_back({arm, std::nullopt});
    return !cut_;
  }

  // Returns how long the process of these arms may take that begins now.
  double limit_of_run(const std::vector<size_t>& arms) {
    for (Begun& begun : this_round_) {
      if (begun.at || std::find(arms.begin(), arms.end(), begun.arm) == arms.end()) continue;
      begun.at = budget_.clock();
      begun.num_sharing = arms.size();
    }
    return std::max(budget_.least_run_s, budget_.left_s());
  }

  // Books the runs of this round that have ended since the last call.
  void account() {
    std::vector<Took> took;
    bool have_shared = false;
    for (; accounted_ < this_round_.size(); ++accounted_) {
      const Begun& begun = this_round_[accounted_];
      const Runs runs = runs_of(begun.arm);
      budget_.own_s += runs.seconds;
      have_shared = begun.num_sharing > 1;
      const double lasted_s =
          begun.at ? (budget_.clock() - *begun.at) / static_cast<double>(begun.num_sharing) : 0;
      // A run without a result does not tell how long others take.
      if (runs.has_result) took.push_back({begun.arm, std::max(runs.seconds, lasted_s)});
    }
    learn(took, have_shared);
  }

  // Compares what runs took with their predictions; all of them shared a process, or each had its own. A
  // prediction counts once, even if other work on the machine made its run repeat, since repeats are a part
  // of what runs cost here.
  void learn(const std::vector<Took>& runs, bool have_shared) {
    double predicted_s = 0, measured_s = 0;  // of a process
    for (size_t i = 0; i < runs.size(); ++i) {
      predicted_s += predicted_now(runs[i].arm);
      measured_s += runs[i].seconds;
      if (have_shared && i + 1 < runs.size()) continue;
      budget_.cost.add(predicted_s, measured_s);
      predicted_s = measured_s = 0;
    }
    budget_.has_shared = budget_.has_shared || (have_shared && !runs.empty());
  }

  // Takes over what the round gave. Returns whether another one follows.
  bool end_round(int64_t round) {
    account();
    std::vector<std::optional<double>> seconds(request_.arms.size());
    bool some_failed = false;
    for (const Begun& begun : this_round_) {
      const Runs runs = runs_of(begun.arm);
      // The budget ended while the arm ran or waited for its turn.
      cut_ = cut_ || !runs.is_known();
      some_failed = some_failed || !runs.has_result;
      seconds[begun.arm] = figure_of(begun.arm);
    }
    this_round_.clear();
    accounted_ = 0;
    Race& race = result_.race;
    if (is_trial_) return end_trial(seconds[0].has_value());
    if (cut_) race.end();
    if (request_.fixed_rounds)
      return !some_failed && !cut_ && round + 1 < request_.rules.most_screening &&
             budget_.affords(seconds_of_next_round());
    if (!race.over()) race.add_round(seconds);
    if (!race.over() && !goes_on()) race.end();
    return !race.over();
  }

  // Takes over what the trial gave. Without a figure there is nothing to race against.
  bool end_trial(bool has_figure) {
    is_trial_ = false;
    if (has_figure)
      result_.arms[0] = {};  // its figure is of no round
    else
      result_.race.end();
    return has_figure;
  }

  // Returns the predicted seconds of a run in this round.
  double predicted_now(size_t arm) const { return predicted_of(request_, arm, checked_[arm]); }

  // Returns the seconds that one run of each of these arms takes in this round, or in a later one.
  enum class When { now, later };
  double seconds_of(const std::vector<size_t>& arms, When when) const {
    double predicted_s = 0, apart_s = 0;
    for (const size_t arm : arms) {
      const double predicted = when == When::now ? predicted_now(arm) : predicted_of(request_, arm, true);
      predicted_s += predicted;
      apart_s += budget_.cost.of(predicted);
    }
    return shares_process() ? budget_.cost.of(predicted_s) : apart_s;
  }

  double seconds_of_next_round() const {
    std::vector<size_t> arms;
    for (size_t i = 0; i < request_.arms.size(); ++i)
      if (wants(i)) arms.push_back(i);
    return seconds_of(arms, When::later);
  }

  // Returns the seconds of the confirming rounds of the incumbent and `arm` up to the first look at them.
  double seconds_to_confirm(size_t arm) const {
    return static_cast<double>(request_.rules.looks.front()) * seconds_of({0, arm}, When::later);
  }

  // Returns in the first round whether the budget suffices to screen the arm with those that have begun, and
  // to confirm it. Before the first run of a climb nobody knows how long runs take.
  bool affords_arm(size_t arm) const {
    if (request_.fixed_rounds || arm == 0 || !budget_.cost.is_known()) return true;
    std::vector<size_t> arms = {arm}, paid;
    for (size_t i = 0; i < this_round_.size(); ++i) {
      arms.push_back(this_round_[i].arm);
      if (i < accounted_) paid.push_back(this_round_[i].arm);
    }
    double seconds = seconds_of(arms, When::now) +
                     static_cast<double>(request_.rules.least_screening - 1) * seconds_of(arms, When::later);
    if (!paid.empty()) seconds -= seconds_of(paid, When::now);
    // Arms that share a process share its start and its measurements of the peak, so they may take far less
    // than alone. Before the first such round nobody knows how much less, so only the screening has to fit.
    if (!shares_process() || budget_.has_shared) seconds += seconds_to_confirm(arm);
    return budget_.affords(seconds);
  }

  // Returns after a round whether there is time for another one. A screening that leaves no time to confirm
  // would be in vain.
  bool goes_on() {
    Race& race = result_.race;
    const double round = seconds_of_next_round();
    // The race looks at the confirming rounds when the budget ends, so none of them is in vain.
    if (race.is_confirming()) return budget_.affords(round);
    double confirm = 0;
    for (size_t i = 1; i < request_.arms.size(); ++i)
      if (wants(i)) confirm = std::max(confirm, seconds_to_confirm(i));
    if (budget_.affords(static_cast<double>(race.rounds_to_decision()) * round + confirm)) return true;
    // If nothing is ahead, or there is no time to confirm it, the rest may show that nothing gains enough.
    return (budget_.affords(confirm) && race.confirm_best()) || budget_.affords(round);
  }

  std::optional<double> figure_of(size_t i) {
    MoveArmResult& arm = result_.arms[i];
    std::string no_figure;
    for (const StoredRecord& record : store_.records(plan_.points[i].id)) {
      if (record.round != number_) continue;
      const Figure seconds = part_of<RecordedTimes>(record.json, "time_s").median;
      if (!seconds || !tflops_of(record.json)) {
        no_figure = "its check is " + value_text(at_or_null(record.json, "/check/status"));
        continue;
      }
      const double bytes = part_of<RecordedMemory>(record.json, "memory").peak_rss_bytes;
      // A run over the memory limit has no figure, so its arm is out.
      if (request_.memory_bytes && bytes > *request_.memory_bytes) {
        arm.why_out =
            fmt::format("it took {}, over the limit of {}", gib(bytes), gib(*request_.memory_bytes));
        return std::nullopt;
      }
      arm.rounds.push_back(number_);
      arm.seconds.push_back(*seconds);
      arm.peak_fraction = part_of<RecordedPeak>(record.json, "peak").fraction;
      return *seconds;
    }
    // It failed, maybe in an earlier round, or its records have no figure, for example since the check
    // mistrusts them.
    for (const StoredAttempt& attempt : store_.attempts(plan_.points[i].id)) {
      if (!has_failed(attempt.state) && !(attempt.counts && attempt.round == number_)) continue;
      arm.why_out = fmt::format("{}, status {}: {}", name_of(attempt.state), attempt.exit_status,
                                error_line(attempt.output_tail));
      if (!has_failed(attempt.state) && !no_figure.empty()) arm.why_out = no_figure;
      arm.check_failed = attempt.exit_status == kCheckFailedStatus;
    }
    return std::nullopt;
  }

  Store& store_;
  const SweepHost& host_;
  const MoveRequest& request_;
  ClimbBudget& budget_;
  SweepPlan plan_;
  MoveResult result_;
  std::vector<bool> checked_;      // by find_checked()
  int64_t number_ = -1;            // of this round in the database
  bool is_stored_ = false;         // it was taken over
  bool is_trial_ = false;          // the incumbent runs alone, and the race does not see it
  std::vector<Begun> this_round_;  // runs, in their order
  size_t accounted_ = 0;           // of them
  bool cut_ = false;
};

}  // namespace

void RunCost::add(double predicted_s, double measured_s) {
  n_ += 1;
  predicted_ += predicted_s;
  measured_ += measured_s;
  predicted_squares_ += predicted_s * predicted_s;
  products_ += predicted_s * measured_s;
}

double RunCost::of(double predicted_s) const {
  // Processes whose predictions are alike do not tell the start from the rest.
  constexpr double kLeastSpread = 0.05;  // variance over the square of the mean
  if (!is_known()) return predicted_s;
  const double spread = n_ * predicted_squares_ - predicted_ * predicted_;
  double factor = measured_ / predicted_;
  if (spread > kLeastSpread * predicted_ * predicted_)
    factor = std::clamp((n_ * products_ - predicted_ * measured_) / spread, 0.0, factor);
  return (measured_ - factor * predicted_) / n_ + factor * predicted_s;
}

bool affords_move(const ClimbBudget& budget, const MoveRequest& request) {
  const RunCost& cost = budget.cost;
  if (!cost.is_known()) return budget.affords(predicted_of(request, 0, false));
  // Returns the seconds of a round of the incumbent and the cheapest other arm.
  const auto round_seconds = [&](bool checked) {
    const double incumbent = predicted_of(request, 0, checked);
    double other = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < request.arms.size(); ++i)
      other = std::min(other, predicted_of(request, i, checked));
    // With a limit of memory each run has a process of its own.
    return request.memory_bytes ? cost.of(incumbent) + cost.of(other) : cost.of(incumbent + other);
  };
  const double later = static_cast<double>(request.rules.least_screening + request.rules.looks.front() - 1);
  return budget.affords(round_seconds(false) + later * round_seconds(true));
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
