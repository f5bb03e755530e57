// Implementation of experiments/driver.h: the order of the runs, when a run is repeated, and what the state
// of a run is. store/journal.h decides which process makes a run.
#include "moehill/experiments/driver.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/bench/schedule.h"
#include "moehill/block/spread.h"
#include "moehill/experiments/checked_records.h"
#include "moehill/experiments/child.h"
#include "moehill/machine/clock.h"
#include "moehill/quiet/disturbance.h"

namespace moehill {
namespace {

constexpr double kBusyPollSeconds = 0.1;  // between two looks while another sweep measures on this machine
// A driver on another host counts as dead this long after its limit.
constexpr double kOverdueSeconds = 60;

// Returns the number of processes that the kernel killed for want of memory since the machine started.
int64_t kernel_memory_kills() {
  std::ifstream file("/proc/vmstat");
  for (std::string name, value; file >> name >> value;) {
    if (name == "oom_kill") return std::stoll(value);
  }
  return 0;
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Returns the lines that are JSON objects with a schema. A command may print other things between them.
std::vector<StoredJson> records_of(const std::string& output) {
  std::vector<StoredJson> records;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::optional<StoredJson> record = object_in(line);
    if (record && record->contains("schema")) records.push_back(*std::move(record));
  }
  return records;
}

// Returns what a record says of its failed check; empty if the check has not failed.
std::string failed_check_of(const StoredJson& record) {
  const StoredJson::json_pointer status("/check/status"), reason("/check/reason");
  if (!record.contains(status) || record[status] != "failed") return "";
  const bool has_reason = record.contains(reason) && record[reason].is_string();
  return "check failed" + (has_reason ? ": " + record[reason].get<std::string>() : "");
}

std::string number_text(const StoredJson& record, const char* pointer, const char* format, double scale) {
  const StoredJson::json_pointer where(pointer);
  if (!record.contains(where) || !record[where].is_number()) return "";
  return fmt::format(fmt::runtime(format), record[where].get<double>() * scale);
}

// Driver runs one plan.
class Driver {
 public:
  Driver(Store& store, SweepPlan& plan, const SweepHost& host, const DriverOptions& options)
      : plan_(plan),
        host_(host),
        options_(options),
        journal_(store, this_process(), host.provenance),
        store_(store) {
    experiment_id_ = journal_.save_plan(plan_.experiment, plan_.points);
    if (options.retry_failed) journal_.forgive_failures(experiment_id_);
  }

  SweepOutcome run() {
    begin_ = seconds();
    count();
    bool again = true;
    while (again && outcome_.end == SweepEnd::done) {
      const bool first = !repeats_;
      again = (plan_.interleave ? pass_by_rounds() : pass_by_points()) || first;
      if (is_race()) break;
      repeats_ = true;
      // Another sweep runs the rest. It may die before it is done, so this sweep waits and looks again.
      if (again && !first && !claimed_some_ && stop_.wait(1)) outcome_.end = SweepEnd::interrupted;
    }
    if (is_race() && outcome_.end == SweepEnd::done) journal_.settle(experiment_id_);
    count();
    return outcome_;
  }

 private:
  bool is_race() const { return options_.goes_on != nullptr; }

  // Both return whether another pass is needed: something was run, or runs elsewhere.
  bool pass_by_rounds() {
    claimed_some_ = false;
    bool again = false;
    // The outer loop is over rounds, so that all points see the same state of the machine, and the points of
    // an interrupted sweep can be compared.
    for (int64_t round = 0; round < plan_.experiment.rounds; ++round) {
      if ((round > 0 || repeats_) && out_of_time()) {
        if (repeats_) return false;
        shorten(round, "when its time was over");
        break;
      }
      const int64_t number = options_.number_of(round);
      const std::vector<size_t> order = order_of(round);
      choose_together(order, round);
      for (const size_t i : order) {
        if (!runs_in(i, round)) continue;
        again = visit(i, number) || again;
        if (outcome_.end == SweepEnd::interrupted) return false;
      }
      if (is_race() && !options_.goes_on(round)) {
        shorten(number + 1, "when it was decided or its budget was spent");
        break;
      }
    }
    return again;
  }

  std::vector<size_t> order_of(int64_t round) const {
    const std::vector<int> order = round_order(round, static_cast<int>(plan_.points.size()));
    return {order.begin(), order.end()};
  }

  // Finds the points of the round that share a process, before the first of them runs. A race has them in
  // another order each round, so that no point is always the first one in its process.
  void choose_together(const std::vector<size_t>& order, int64_t round) {
    together_.reset();
    visited_.clear();
    if (plan_.shared.empty()) return;
    std::vector<size_t> chosen;
    for (size_t i = 0; i < plan_.points.size(); ++i)
      if (!options_.wants || options_.wants(i, round)) chosen.push_back(i);
    together_ = chosen;
    if (!is_race()) return;
    together_->clear();
    std::copy_if(order.begin(), order.end(), std::back_inserter(*together_),
                 [&](size_t i) { return contains(chosen, i); });
  }

  static bool contains(const std::vector<size_t>& points, size_t i) {
    return std::find(points.begin(), points.end(), i) != points.end();
  }

  bool runs_in(size_t i, int64_t round) const {
    if (together_) return contains(*together_, i) && !contains(visited_, i);
    return !options_.wants || options_.wants(i, round);
  }

  bool shares_process() const { return !plan_.shared.empty() && together_ && together_->size() > 1; }

  bool pass_by_points() {
    claimed_some_ = false;
    bool again = false;
    for (size_t i = 0; i < plan_.points.size(); ++i) {
      for (int64_t round = 0; round < plan_.experiment.rounds; ++round) {
        again = visit(i, round) || again;
        if (outcome_.end == SweepEnd::interrupted) return false;
      }
    }
    return again;
  }

  bool out_of_time() const {
    return options_.stop_after_seconds > 0 && seconds() - begin_ > options_.stop_after_seconds;
  }

  // Ends the experiment with the rounds that it has.
  void shorten(int64_t rounds, const char* when) {
    plan_.experiment.rounds = rounds;
    plan_.experiment.sizing["rounds"] = rounds;
    std::string& note = plan_.experiment.options_note;
    note += fmt::format("{}ended after {}, {}", note.empty() ? "" : "; ", count_text(rounds, "round"), when);
    journal_.save_plan(plan_.experiment, plan_.points);
  }

  // Two sweeps on one machine would disturb each other, so this one waits for its turn. A race also waits for
  // a run that another sweep makes, because its round needs the result.
  bool is_taken(ClaimState state) const {
    return state == ClaimState::machine_busy || (is_race() && state == ClaimState::elsewhere);
  }

  // Returns the seconds after which a process is ended. It has the time of all its points.
  double time_limit(const std::vector<size_t>& points) const {
    return plan_.experiment.timeout_s * static_cast<double>(points.size());
  }

  // Returns the seconds after which another host takes the owner of a claim for dead. If the process of a
  // round fails, each of its points runs alone under the claim that it has.
  double claim_limit() const {
    const double runs = shares_process() ? 2 * static_cast<double>(together_->size()) : 1;
    return plan_.experiment.timeout_s * runs + kOverdueSeconds;
  }

  bool visit(size_t i, int64_t round) {
    const double limit = claim_limit();
    ClaimAnswer answer = journal_.claim(plan_.points[i].id, round, limit, repeats_);
    while (is_taken(answer.state) && options_.waits() && !stop_.wait(kBusyPollSeconds))
      answer = journal_.claim(plan_.points[i].id, round, limit, repeats_);
    if (answer.state == ClaimState::claimed) {
      claimed_some_ = true;
      if (shares_process())
        measure_round(i, answer.claim);
      else
        measure_alone(i, answer.claim);
    }
    if (stop_.wait(0)) outcome_.end = SweepEnd::interrupted;
    return answer.state == ClaimState::claimed || answer.state == ClaimState::elsewhere;
  }

  // MeasuredRun is one child with what the machine's counters say of its time.
  struct MeasuredRun {
    ChildResult child;
    std::vector<StoredJson> records;
    std::string disturbance;
    bool killed_for_memory = false, out_of_budget = false;
  };

  MeasuredRun run_measured(const std::vector<std::string>& command, const std::vector<size_t>& points) {
    MeasuredRun run;
    // The machine's counters before and after the run tell whether other work disturbed it, and whether the
    // kernel killed it for its memory.
    const int64_t kills = kernel_memory_kills();
    const double load = load_average();
    const MachineTimes before = machine_times();
    const double longest = time_limit(points), limit = std::min(longest, options_.limit(points));
    run.child = run_child(command, limit, stop_.file());
    run.disturbance = disturbance_between(before, machine_times(), run.child.cpu_seconds, load);
    run.killed_for_memory = kernel_memory_kills() > kills;
    run.records = records_of(run.child.output);
    // A race had no more time for it, which says nothing of the point.
    run.out_of_budget = run.child.end == ChildEnd::timed_out && limit < longest;
    measured_seconds_ += run.child.seconds;
    return run;
  }

  // OwnedClaim is a claim of this process on a point.
  struct OwnedClaim {
    size_t point;
    Claim claim;
  };

  // Claims the other points of the round whose first point this process has claimed. All are claimed before
  // they run, because another sweep that got some of them would measure these by a process of its own.
  std::vector<OwnedClaim> claim_round(size_t first, const Claim& claim, bool repeats) {
    std::vector<OwnedClaim> claims = {{first, claim}};
    for (const size_t i : *together_) {
      if (i == first) continue;
      const ClaimAnswer answer =
          journal_.claim(plan_.points[i].id, claim.round, claim_limit(), repeats, Beside::own_runs);
      if (answer.state == ClaimState::claimed) claims.push_back({i, answer.claim});
    }
    // A race drops a point that fails, so the round does not visit these points again.
    for (const OwnedClaim& own : claims)
      if (is_race()) visited_.push_back(own.point);
    return claims;
  }

  // Returns true if a run that other work disturbed is to be repeated at once. Only a race does so, because
  // its next runs depend on the result.
  bool repeats_at_once(bool disturbed, double begin) {
    return disturbed && is_race() && !stop_.wait(0) && options_.affords(seconds() - begin);
  }

  // Measures the round in one process.
  void measure_round(size_t first, const Claim& claim) {
    const double begin = seconds();
    if (!repeats_at_once(measure_together(claim_round(first, claim, repeats_)), begin)) return;
    const ClaimAnswer repeat = journal_.claim(plan_.points[first].id, claim.round, claim_limit(), true);
    if (repeat.state == ClaimState::claimed) measure_together(claim_round(first, repeat.claim, true));
  }

  // Measures the points that share a process and stores the results of those that are claimed. Returns
  // whether other work disturbed them.
  bool measure_together(const std::vector<OwnedClaim>& claims) {
    const double begin = seconds();
    const size_t n = together_->size();
    show(fmt::format("{} round {}{}",
                     n == plan_.points.size() ? "all points" : count_text(static_cast<int64_t>(n), "point"),
                     claims[0].claim.round + 1, claims[0].claim.repeat ? " again" : ""),
         false);
    const std::map<size_t, MeasuredRun> runs = run_together(claims[0].claim.round);
    bool disturbed = false;
    for (const OwnedClaim& own : claims)
      if (!runs.empty()) disturbed = keep(own.point, own.claim, runs.at(own.point)).disturbed || disturbed;
    if (runs.empty()) measure_one_by_one(claims, (seconds() - begin) / static_cast<double>(n));
    return disturbed;
  }

  // Runs each point of a process that failed alone; `each` is that process's time, divided by its points.
  void measure_one_by_one(const std::vector<OwnedClaim>& claims, double each) {
    if (!stop_.wait(0)) show("the process of all points failed, so each point has its own", true);
    bool some_failed = false;
    for (const OwnedClaim& own : claims) {
      if (stop_.wait(0) || !options_.affords(each))
        give_back(own.claim);
      else
        some_failed = has_failed(measure_alone(own.point, own.claim).state) || some_failed;
    }
    // A race goes on without the points that failed.
    if (!stop_.wait(0) && !(is_race() && some_failed)) plan_.shared = {};
  }

  // Runs a point in a process of its own. Returns its first result.
  AttemptResult measure_alone(size_t i, const Claim& claim) {
    const double begin = seconds();
    AttemptResult result = measure(i, claim);
    if (!repeats_at_once(result.disturbed, begin)) return result;
    const ClaimAnswer repeat =
        journal_.claim(plan_.points[i].id, claim.round, claim_limit(), true, Beside::own_runs);
    if (repeat.state == ClaimState::claimed) measure(i, repeat.claim);
    return result;
  }

  // Ends a claim whose run has not been made.
  void give_back(const Claim& claim) {
    AttemptResult result;
    result.state = RunState::interrupted;
    journal_.finish(claim, result);
  }

  // Measures the points that share a process. Returns a run for each, or nothing if the process failed or
  // returned other points. A check that fails there is a failure of its point, whatever that point does
  // alone; the others have their results. If the budget ended the process, the runs have no records.
  std::map<size_t, MeasuredRun> run_together(int64_t round) {
    const std::vector<size_t>& points = *together_;
    const size_t n = points.size();
    MeasuredRun run = run_measured(command_line(plan_.shared.of(points), points, round), points);
    const bool some_failed =
        std::any_of(run.records.begin(), run.records.end(),
                    [](const StoredJson& record) { return !failed_check_of(record).empty(); });
    const bool is_whole = run.child.end == ChildEnd::exited &&
                          run.child.status == (some_failed ? kCheckFailedStatus : 0) && are_of(run.records);
    if (!is_whole && !run.out_of_budget) return {};
    const std::vector<StoredJson> records = std::exchange(run.records, {});
    run.child.seconds /= static_cast<double>(n);
    run.child.cpu_seconds /= static_cast<double>(n);
    std::map<size_t, MeasuredRun> runs;
    for (size_t k = 0; k < n; ++k) {
      MeasuredRun& one = runs[points[k]] = run;
      if (!is_whole) continue;
      const std::string failure = failed_check_of(records[k]);
      one.child.status = failure.empty() ? 0 : kCheckFailedStatus;
      if (!failure.empty()) one.child.error_tail = failure;
      one.records.push_back(records[k]);
    }
    if (is_race()) share_disturbance(runs);
    return runs;
  }

  // Sets for all points what disturbed one of them. A race compares the points of a round, so it repeats all
  // of them by one process, or none.
  void share_disturbance(std::map<size_t, MeasuredRun>& runs) {
    std::string disturbance;
    for (const auto& [point, run] : runs)
      if (disturbance.empty())
        disturbance = run.disturbance.empty() ? lost_peak_of(point, run.records) : run.disturbance;
    for (auto& [point, run] : runs) run.disturbance = disturbance;
  }

  // Returns true if these are the records of the points that share a process, in their order.
  bool are_of(const std::vector<StoredJson>& records) const {
    return std::equal(records.begin(), records.end(), together_->begin(), together_->end(),
                      [&](const StoredJson& record, size_t i) { return is_of(record, plan_.points[i]); });
  }

  // Returns true if the record has the options of the point. If the run chose the path itself, the options
  // that only some paths have may have any value, and so may blocks that a tuned table had.
  static bool is_of(const StoredJson& record, const StoredPoint& point) {
    const StoredJson config = record.value("config", StoredJson::object());
    const bool any_path = point.options.contains("ep_path") && point.options["ep_path"] == "auto";
    const bool is_tuned = record.contains("tuned") && record["tuned"] == "hit";
    for (const auto& [name, value] : point.options.items()) {
      const bool is_chosen = (any_path && goes_with_path(name)) || (is_tuned && name == "blocks");
      if (!is_chosen && config.contains(name) && config[name] != value) return false;
    }
    return true;
  }

  // Runs one attempt and stores it.
  AttemptResult measure(size_t i, const Claim& claim) {
    show(fmt::format("{} round {}{}", plan_.points[i].label, claim.round + 1, claim.repeat ? " again" : ""),
         false);
    return keep(i, claim, run_measured(command_line(plan_.points[i].arguments, {i}, claim.round), {i}));
  }

  // Stores a run as the attempt of a claim, and returns what it stored.
  AttemptResult keep(size_t i, const Claim& claim, const MeasuredRun& run) {
    const StoredPoint& point = plan_.points[i];
    AttemptResult result;
    result.records = run.records;
    result.state =
        classify(run.child, result.records.size(), !plan_.experiment.launcher.empty(), run.killed_for_memory);
    if (run.out_of_budget) result.state = RunState::interrupted;
    result.seconds = run.child.seconds;
    result.exit_status = run.child.status;
    result.output_tail = run.child.error_tail;
    result.disturbance = run.disturbance;
    // Even if no counter shows another program, a peak far below the peaks of other runs shows that the run
    // did not have its cores.
    if (result.disturbance.empty()) result.disturbance = lost_peak_of(i, result.records);
    result.disturbed = !result.disturbance.empty();
    journal_.finish(claim, result);
    if (run.child.status == kCheckFailedStatus) outcome_.check_failed = true;
    ++outcome_.counts.started;
    if (claim.repeat) ++outcome_.counts.repeated;
    last_ = describe(point, claim, result);
    count();
    show(last_, true);
    return result;
  }

  // Compares the peak of this run with the peaks of the same point's rounds that this process has run.
  std::string lost_peak_of(size_t i, const std::vector<StoredJson>& records) {
    const auto peak = [&](const char* key) {
      const StoredJson::json_pointer where(key);
      const bool known = !records.empty() && records[0].contains(where) && records[0][where].is_number();
      return known ? records[0][where].get<double>() : 0.0;
    };
    double& best = best_peak_[i];
    best = std::max(best, peak("/peak/tflops_measured"));
    return lost_peak(peak("/peak/tflops_typical"), best);
  }

  // Returns the file with what earlier runs of these points checked; "" if there is nothing. The processes of
  // a launcher may be on other machines.
  std::string checked_file(const std::vector<size_t>& points, int64_t round) {
    if (plan_.experiment.command != name_of(SweptCommand::bench) || !plan_.experiment.launcher.empty() ||
        !options_.takes_checks_over)
      return "";
    std::vector<StoredJson> records;
    for (const size_t i : points) {
      std::vector<StoredJson>& of_point = checked_[i];
      if (of_point.empty()) of_point = checked_records(store_, plan_.points[i], round);
      records.insert(records.end(), of_point.begin(), of_point.end());
    }
    return records.empty() ? "" : checked_records_.write(records);
  }

  // Returns the command line of a process that measures these points.
  std::vector<std::string> command_line(const std::vector<std::string>& options,
                                        const std::vector<size_t>& points, int64_t round) {
    std::string program = host_.program;
    // In a launcher's command line, /proc/self/exe would name the launcher itself.
    if (!plan_.experiment.launcher.empty() && program == "/proc/self/exe")
      program = std::filesystem::read_symlink(program);
    std::vector<std::string> arguments = {program, plan_.experiment.command};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.insert(arguments.end(), {"--json", "-"});
    const std::string checked = checked_file(points, round);
    if (!checked.empty()) arguments.insert(arguments.end(), {"--checked", checked});
    return launched(plan_.experiment.launcher, plan_.devices[points[0]], arguments);
  }

  static std::string describe(const StoredPoint& point, const Claim& claim, const AttemptResult& result) {
    std::string text = fmt::format("{} round {}: {} in {:.1f} s", point.label, claim.round + 1,
                                   name_of(result.state), result.seconds);
    for (const StoredJson& record : result.records) {
      // The record of a step that left stages out is no result.
      if (record.contains("ablated")) continue;
      text += number_text(record, "/time_s/median", ", {:.2f} ms", 1e3);
      const StoredJson::json_pointer status("/check/status");
      const bool passed = record.contains(status) && record[status] == "passed";
      text += passed ? number_text(record, "/tflops", " {:.1f} GF/s", 1e3) : " without a passed check";
    }
    if (result.disturbed) text += " (" + result.disturbance + ")";
    return text;
  }

  void count() {
    SweepCounts& counts = outcome_.counts;
    counts.points = counts.done = counts.failed = counts.disturbed = remaining_ = 0;
    for (const StoredPoint& point : store_.points(experiment_id_)) {
      const bool given_up = has_failed(point.state);
      int64_t settled = 0;
      for (const StoredAttempt& attempt : store_.attempts(point.id)) {
        if (!attempt.counts) continue;
        ++settled;
        counts.disturbed += attempt.disturbed ? 1 : 0;
      }
      ++counts.points;
      counts.done += point.state == RunState::done ? 1 : 0;
      counts.failed += given_up ? 1 : 0;
      if (!given_up) remaining_ += std::max<int64_t>(0, plan_.experiment.rounds - settled);
    }
  }

  void show(const std::string& what, bool finished) const {
    const SweepCounts& counts = outcome_.counts;
    const int64_t total = counts.points * plan_.experiment.rounds;
    const double each = counts.started > 0
                            ? measured_seconds_ / static_cast<double>(counts.started)
                            : plan_.predicted_seconds() / static_cast<double>(std::max<int64_t>(1, total));
    const std::string text = what + (finished || last_.empty() ? "" : "; last: " + last_);
    // Nobody knows how many runs of a race are left.
    if (is_race()) return options_.show(text, finished);
    options_.show(fmt::format("[{}/{}] {} left, {} failed; {}", total - remaining_, total,
                              duration_text(each * static_cast<double>(remaining_)), counts.failed, text),
                  finished);
  }

  SweepPlan& plan_;
  const SweepHost& host_;
  const DriverOptions& options_;
  StopSignals stop_;
  Journal journal_;
  Store& store_;
  int64_t experiment_id_ = 0, remaining_ = 0;
  double begin_ = 0, measured_seconds_ = 0;
  bool claimed_some_ = false;
  // True once every round has a result: only then are disturbed rounds run again.
  bool repeats_ = false;
  // The points that run in this round, if the plan lets them share a process.
  std::optional<std::vector<size_t>> together_;
  std::vector<size_t> visited_;         // those of them that this round of a race needs no more
  std::map<size_t, double> best_peak_;  // by point, in TF/s
  std::map<size_t, std::vector<StoredJson>> checked_;  // by point: checked_records()
  MemoryFile checked_records_;
  std::string last_;
  SweepOutcome outcome_;
};

}  // namespace

RunState classify(const ChildResult& child, size_t num_records, bool launched,
                  bool kernel_killed_for_memory) {
  const std::string& tail = child.error_tail;
  if (child.end == ChildEnd::stopped) return RunState::interrupted;
  if (child.end == ChildEnd::timed_out) return RunState::timeout;
  if (child.end == ChildEnd::flooded) return RunState::failed;
  if (child.end == ChildEnd::exited && child.status == 0)
    return num_records > 0 ? RunState::done : RunState::failed;
  // If a process runs out of memory, the kernel kills it or the process says so itself.
  const bool killed = child.status == 128 + SIGKILL;
  if ((killed && kernel_killed_for_memory) || says(tail, "the system refused memory") ||
      says(tail, "predicted memory: got"))
    return RunState::out_of_memory;
  // mpirun and srun say this when one of their processes is gone.
  if (launched && (says(tail, "noticed that process rank") || says(tail, "lost communication with") ||
                   (says(tail, "srun: error") && says(tail, "Killed"))))
    return RunState::rank_lost;
  return RunState::failed;
}

SweepOutcome run_sweep(Store& store, SweepPlan& plan, const SweepHost& host, const DriverOptions& options) {
  return Driver(store, plan, host, options).run();
}

}  // namespace moehill
