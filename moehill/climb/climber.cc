// Implementation of climb/climber.h: which moves there are, in which order they are made, and when the climb
// ends. climb/move_runner.h runs a move.
#include "moehill/climb/climber.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"
#include "moehill/experiments/matrix.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

constexpr int64_t kLastRounds = 5;    // of the winner beside the first configuration
constexpr double kToldApart = 0.001;  // predictions that are closer say nothing
constexpr double kClose = 0.10;       // arms farther behind are not tried again after another axis has moved
// A process of few arms takes kStartSeconds before its first step, and emptying the caches adds
// kBetweenSteps to each step. Both were measured on two cores, with steps of 4 ms.
constexpr double kStartSeconds = 1, kBetweenSteps = 0.02;

std::string percent(double gain) { return fmt::format("{:+.1f} %", 100 * (gain - 1)); }

// Returns the largest predicted gain of the arms that have a prediction. arms[0] is the incumbent.
std::optional<double> predicted_gain(const std::vector<MoveArm>& arms) {
  const std::optional<double> before = arms[0].resolved.step_seconds;
  std::optional<double> best;
  double most_apart = 0;
  for (size_t i = 1; before && i < arms.size(); ++i) {
    if (!arms[i].resolved.step_seconds) continue;
    const double gain = *before / *arms[i].resolved.step_seconds;
    best = std::max(best.value_or(0), gain);
    most_apart = std::max(most_apart, std::abs(gain - 1));
  }
  return most_apart > kToldApart ? best : std::nullopt;
}

// Returns the arm other than the incumbent that the model predicts to be the fastest; null if none has a
// prediction.
const MoveArm* best_predicted(const ClimbMove& move) {
  const MoveArm* best = nullptr;
  for (size_t i = 1; i < move.arms.size(); ++i) {
    const std::optional<double> seconds = move.arms[i].resolved.step_seconds;
    if (seconds && (best == nullptr || *seconds < *best->resolved.step_seconds)) best = &move.arms[i];
  }
  return best;
}

// Returns a threshold for the logbook, such as "ratio(arm = 'fast', arm = 'baseline') >= 1.02".
std::string arm_threshold(const MoveArm& over, const MoveArm& under, const std::string& relation) {
  return fmt::format("ratio(arm = '{}', arm = '{}') {}", over.label, under.label, relation);
}

// Returns the model's prediction as a threshold: the best arm gains at least `worth`, or it gains less.
// Returns nothing if the model has no prediction.
std::vector<std::string> thresholds_of(const ClimbMove& move, double worth) {
  const MoveArm* best = move.predicted_gain ? best_predicted(move) : nullptr;
  if (best == nullptr) return {};
  const char* relation = *move.predicted_gain >= 1 + worth ? ">=" : "<";
  return {arm_threshold(*best, move.arms[0], fmt::format("{} {:g}", relation, 1 + worth))};
}

std::string hypothesis_of(const ClimbMove& move, double worth) {
  const std::string before = move.arms[0].label;
  std::vector<std::string> others;
  for (size_t i = 1; i < move.arms.size(); ++i) others.push_back(move.arms[i].label);
  if (move.earlier > 0)
    return fmt::format(
        "The rounds so far leave open whether one of {} is faster than {} by {:.3g} % or more.",
        fmt::join(others, ", "), before, 100 * worth);
  if (!move.predicted_gain)
    return fmt::format(
        "The model does not tell these apart; one of {} may be faster than {} by {:.3g} % or more.",
        fmt::join(others, ", "), before, 100 * worth);
  return fmt::format("The model expects {} to change the speed of {} by {}.", best_predicted(move)->label,
                     before, percent(*move.predicted_gain));
}

// Returns what follows a move, as it is known before the move: the move may change the model's order.
std::string next_action_of(const ClimbMove& move) {
  if (move.next.empty())
    return "what may still gain enough, from the faster of these; then the winner beside what was asked for";
  return fmt::format("the axis {}, from the faster of these", move.next);
}

// Returns what in the last comparison speaks against keeping the winner; empty: nothing.
std::string why_not_kept(const MoveRequest& request, const MoveResult& result,
                         const std::optional<Ratio>& total) {
  for (size_t i = 0; i < request.arms.size(); ++i)
    if (!result.arms[i].why_out.empty())
      return fmt::format("{}: {}", request.arms[i].label, result.arms[i].why_out);
  if (total && total->interval && total->interval->hi < 1)
    return "it is slower than what was asked for, " + change_text(*total);
  return "";
}

std::string fate_line(const ClimbMove& move, size_t i) {
  const Race& race = move.result.race;
  std::string text = fmt::format("{}: {}", move.arms[i].label, name_of(race.fate(i)));
  const std::optional<Ratio> gain = i > 0 ? race.gain(i) : std::nullopt;
  if (gain) text += fmt::format(", {} over {}", change_text(*gain), count_text(gain->n, "round"));
  if (i < move.result.arms.size() && !move.result.arms[i].why_out.empty())
    text += " (" + move.result.arms[i].why_out + ")";
  return text;
}

std::string interpretation_of(const ClimbMove& move) {
  std::vector<std::string> lines;
  for (size_t i = 1; i < move.arms.size(); ++i) lines.push_back(fate_line(move, i));
  for (const std::string& line : move.left_out) lines.push_back(line);
  const size_t winner = move.result.race.winner();
  const std::string kept =
      winner == 0 ? move.arms[0].label + " stays" : "go on from " + move.arms[winner].label;
  return fmt::format("{}. {}.", fmt::join(lines, "; "), kept);
}

// Returns true if the budget ended the race before some arm had enough rounds to tell anything.
bool lacks_rounds(const ClimbMove& move) {
  const Race& race = move.result.race;
  for (size_t i = 1; i < move.arms.size(); ++i)
    if (race.fate(i) == ArmFate::undecided && race.rounds_of(i) < kMinRounds) return true;
  return false;
}

// Takes out the arms for which `leaves` is true. The incumbent stays.
template <typename Leaves>
void leave_out(ClimbMove& move, const Leaves& leaves) {
  move.arms.erase(std::remove_if(move.arms.begin() + 1, move.arms.end(), leaves), move.arms.end());
}

// Returns the axes for whose last move `holds` is true.
template <typename Holds>
std::vector<ClimbAxis> axes_whose_last(const std::vector<ClimbMove>& moves, const Holds& holds) {
  std::vector<ClimbAxis> axes;
  for (const ClimbAxis axis : all_values<ClimbAxis>()) {
    const ClimbMove* move = last_move(moves, axis);
    if (move != nullptr && holds(*move)) axes.push_back(axis);
  }
  return axes;
}

}  // namespace

std::vector<size_t> open_arms(const ClimbMove& move, double worth) {
  const Race& race = move.result.race;
  std::vector<size_t> open;
  for (size_t i = 1; i < move.arms.size(); ++i)
    if (is_open(race.fate(i)) && race.most_gain(i, race.winner()) > worth) open.push_back(i);
  return open;
}

const ClimbMove* last_move(const std::vector<ClimbMove>& moves, ClimbAxis axis) {
  const ClimbMove* last = nullptr;
  for (const ClimbMove& move : moves) {
    // A further race that the budget ended at once says less than the race before it.
    const bool says_less = move.earlier > 0 && move.result.race.rounds() < kMinRounds && lacks_rounds(move);
    if (move.axis == axis && !says_less) last = &move;
  }
  return last;
}

int64_t steps_of_further_race(int64_t iters, size_t num_arms, double step_seconds) {
  const double each = static_cast<double>(num_arms) * (step_seconds + kBetweenSteps);
  const double times = kStartSeconds / each / static_cast<double>(iters);
  // The result is a multiple of iters, so that a slightly different median does not make another
  // configuration.
  return iters * std::max<int64_t>(1, static_cast<int64_t>(times));
}

double product_of_gains(const ClimbOutcome& outcome) {
  double product = 1;
  for (const ClimbMove& move : outcome.moves) product *= move.gain;
  return product;
}

StoredJson winner_options(const ClimbOutcome& outcome) {
  StoredJson options = outcome.winner.options;
  const StoredJson& resolved = outcome.winner.resolved.options;
  if (!options.contains("blocks") && resolved.contains("blocks")) options["blocks"] = resolved["blocks"];
  return options;
}

Climber::Climber(const SweepHost& host, const ClimbSpace& space, ClimbOptions options)
    : host_(host), space_(space), options_(std::move(options)) {
  budget_.limit_s = options_.budget_s;
  budget_.clock = options_.clock;
  budget_.begin_s = options_.begin_s;
  budget_.least_run_s = options_.least_run_s;
  outcome_.first = {"as asked for", options_.base,
                    host_.resolve(SweptCommand::bench, false, arguments_of(options_.base))};
  outcome_.winner = outcome_.first;
  if (outcome_.first.resolved.options.contains("points"))
    throw input_error("climb", "several points", "one problem", "name single values, such as --topk 8");
  const double bytes = outcome_.first.resolved.bytes.value_or(0);
  if (options_.memory_bytes && bytes > *options_.memory_bytes)
    throw input_error("--memory",
                      fmt::format("{}, where the first configuration is predicted to take {}",
                                  gib(*options_.memory_bytes), gib(bytes)),
                      "a limit that it keeps", "allow more, or choose fewer --tokens");
  // The limits decide which moves are made. So a climb of the same problem with other limits is another
  // climb, with another id.
  StoredJson question = outcome_.first.resolved.options;
  question["worth"] = options_.worth;
  question["memory"] = options_.memory_bytes.value_or(0);
  id_ = identity_of({}, host_, question).substr(0, 8);
}

std::string Climber::experiment_name(const std::string& part) const {
  return fmt::format("climb-{}-{}", id_, part);
}

std::string Climber::short_identity(const StoredJson& resolved) const {
  return identity_of({}, host_, resolved).substr(0, 4);
}

std::optional<MoveArm> Climber::arm_of(ClimbAxis axis, const StoredJson& options) const {
  try {
    const ResolvedPoint resolved = host_.resolve(SweptCommand::bench, false, arguments_of(options));
    return MoveArm{place_on(axis, resolved.options), options, resolved};
  } catch (const InputError&) {
    // The option has no effect here, or no block has this combination.
    return std::nullopt;
  }
}

std::optional<MoveArm> Climber::first_arm_of(ClimbAxis axis, const std::vector<StoredJson>& options) const {
  for (const StoredJson& one : options)
    if (std::optional<MoveArm> arm = arm_of(axis, one)) return arm;
  return std::nullopt;
}

// Plans the move along an axis: all arms next to the best configuration so far, without those that are equal
// to it, that have another routing, that do not fit, or that the model calls hopeless.
ClimbMove Climber::plan_move(ClimbAxis axis) const {
  ClimbMove move;
  move.axis = axis;
  const MoveArm& best = outcome_.winner;
  // Arm 0 is the best configuration so far, with which the others are compared.
  move.arms.push_back({place_on(axis, best.resolved.options), best.options, best.resolved});
  double fastest = best.resolved.step_seconds.value_or(0);
  for (const StoredJson& change :
       changes_along(axis, options_.base, best.options, best.resolved.options, space_)) {
    const std::optional<MoveArm> arm =
        first_arm_of(axis, with_fallbacks(changed(best.options, change), options_.base));
    if (!arm) continue;
    // Changes that resolve to a run that is already among the arms are left out.
    const auto is_same = [&](const MoveArm& other) {
      return other.resolved.options == arm->resolved.options;
    };
    if (std::any_of(move.arms.begin(), move.arms.end(), is_same)) continue;
    const std::string other = other_routing(best.resolved.options, arm->resolved.options);
    if (!other.empty()) {
      move.left_out.push_back(fmt::format("{}: not run, {}", arm->label, other));
      continue;
    }
    if (options_.memory_bytes && arm->resolved.bytes.value_or(0) > *options_.memory_bytes) {
      move.left_out.push_back(
          fmt::format("{}: not run, predicted to take {}", arm->label, gib(*arm->resolved.bytes)));
      continue;
    }
    if (arm->resolved.step_seconds && fastest > 0) fastest = std::min(fastest, *arm->resolved.step_seconds);
    move.arms.push_back(*arm);
  }
  // An arm that the model expects to be many times slower than the fastest is not run at all.
  const auto is_hopeless = [&](const MoveArm& arm) {
    const double times = fastest > 0 ? arm.resolved.step_seconds.value_or(0) / fastest : 0;
    if (&arm == &move.arms[0] || times < kHopeless) return false;
    move.left_out.push_back(
        fmt::format("{}: not run, the model expects {:.1f} times the time", arm.label, times));
    return true;
  };
  std::vector<MoveArm> kept;
  for (const MoveArm& arm : move.arms)
    if (!is_hopeless(arm)) kept.push_back(arm);
  // A small budget leaves out the last arms.
  std::stable_sort(kept.begin() + 1, kept.end(), [](const MoveArm& a, const MoveArm& b) {
    return a.resolved.step_seconds &&
           (!b.resolved.step_seconds || *a.resolved.step_seconds < *b.resolved.step_seconds);
  });
  move.arms = kept;
  move.predicted_gain = predicted_gain(move.arms);
  return move;
}

// Puts the moves in the order of their predicted gains. A move that the model cannot predict comes before a
// move that it expects to gain too little.
std::vector<ClimbMove> Climber::ordered(const std::vector<ClimbAxis>& axes) const {
  std::vector<ClimbMove> moves;
  for (const ClimbAxis axis : axes) moves.push_back(plan_move(axis));
  const auto rank = [&](const ClimbMove& move) {
    if (!move.predicted_gain) return 1 + options_.worth;
    return *move.predicted_gain;
  };
  std::stable_sort(moves.begin(), moves.end(),
                   [&](const ClimbMove& a, const ClimbMove& b) { return rank(a) > rank(b); });
  return moves;
}

std::vector<ClimbMove> Climber::plan() {
  const auto axes = all_values<ClimbAxis>();
  return ordered({axes.begin(), axes.end()});
}

MoveRequest Climber::request_of(const ClimbMove& move) const {
  MoveRequest request;
  // A climb with another budget may come to this number and axis from another configuration.
  const std::string from = short_identity(move.arms[0].resolved.options);
  request.name =
      experiment_name(fmt::format("{:02}-{}-{}", outcome_.moves.size() + 1, name_of(move.axis), from));
  request.title = fmt::format("Climb, move {}: {}", outcome_.moves.size() + 1, name_of(move.axis));
  request.hypothesis = hypothesis_of(move, options_.worth);
  request.expect = thresholds_of(move, options_.worth);
  request.next_action = next_action_of(move);
  request.command = options_.command;
  request.arms = move.earlier > 0 ? arms_with_more_steps(move) : move.arms;
  request.rules.worth = options_.worth;
  request.rules.alpha = kFalseChoice / kMostMoves;
  request.rules = rules_after(move.earlier, request.rules);
  request.memory_bytes = options_.memory_bytes;
  return request;
}

// Returns the arms of a further race. Where steps are short, a process takes more of them than before, since
// its start would take most of the time.
std::vector<MoveArm> Climber::arms_with_more_steps(const ClimbMove& move) const {
  const StoredJson& resolved = move.arms[0].resolved.options;
  const auto iters = resolved.find("iters");
  // The stored rounds give the time of a step, so a climb that is started again takes as many.
  const std::vector<double> seconds = last_move(outcome_.moves, move.axis)->result.arms[0].seconds;
  if (iters == resolved.end() || !iters->is_number_integer() || seconds.empty()) return move.arms;
  // With a limit of memory each arm has a process of its own.
  const int64_t steps = steps_of_further_race(
      iters->get<int64_t>(), options_.memory_bytes ? 1 : move.arms.size(), median_of(seconds));
  std::vector<MoveArm> arms;
  for (const MoveArm& arm : move.arms) {
    const std::optional<MoveArm> with_more = arm_of(move.axis, changed(arm.options, {{"iters", steps}}));
    if (!with_more) return move.arms;
    arms.push_back(*with_more);
  }
  return arms;
}

// Runs a move and takes over its result. `others` is the number of axes that still need time. Returns whether
// the climb goes on.
bool Climber::take_move(ClimbMove move, size_t others) {
  // The last comparison has a process for each run. Its arms have been checked by then, and only with a limit
  // of memory every run checks.
  const ResolvedPoint& first = outcome_.first.resolved;
  const double seconds = first.seconds.value_or(0);
  const double first_run =
      budget_.cost.of(options_.memory_bytes ? seconds : first.repeat_seconds.value_or(seconds));
  const double reserve_s = std::min(2.0 * kLastRounds * first_run, kMostReserved * budget_.limit_s);
  budget_.reserve_s = reserve_s;
  const MoveRequest request = request_of(move);
  const bool is_further = move.earlier > 0;
  // A further race may go on for long, so it takes only its share of the time, if that is enough.
  const double waiting = static_cast<double>(others);
  if (is_further) budget_.reserve_s += budget_.left_s() * waiting / (waiting + 1);
  if (!affords_move(budget_, request)) budget_.reserve_s = reserve_s;
  if (!affords_move(budget_, request)) {
    // The report names what a further race would decide as not excluded.
    std::vector<ClimbAxis>& axes = outcome_.not_begun;
    if (!is_further && std::find(axes.begin(), axes.end(), move.axis) == axes.end())
      axes.push_back(move.axis);
    outcome_.end = ClimbEnd::budget;
    return true;  // another one may be shorter
  }
  move.experiment = request.name;
  move.result = run_move(*store_, host_, request, budget_, show_);
  const Race& race = move.result.race;
  const size_t winner = race.winner();
  if (winner > 0) {
    move.gain = race.gain(winner)->ratio;
    outcome_.winner = move.arms[winner];
  }
  if (!move.result.interrupted && race.rounds() > 0)
    note_once(*store_, move.experiment, interpretation_of(move));
  if (move.result.interrupted) outcome_.end = ClimbEnd::interrupted;
  // The incumbent may also have failed in a round that the budget cut short, of which the race knows nothing.
  const MoveArmResult& incumbent = move.result.arms[0];
  if (race.fate(0) == ArmFate::failed || !incumbent.why_out.empty())
    outcome_.end = incumbent.check_failed ? ClimbEnd::check_failed : ClimbEnd::run_failed;
  outcome_.moves.push_back(std::move(move));
  if (outcome_.moves.back().gain != 1) adopted_at_ = outcome_.moves.size();
  return has_ended_well(outcome_.end);
}

// Makes a move along each of these axes, with the arms that `narrow` keeps. Returns whether the climb goes
// on.
bool Climber::go(std::vector<ClimbAxis> axes, const std::function<void(ClimbMove&)>& narrow) {
  while (!axes.empty()) {
    // Moves are planned anew each time, since the model's order depends on the current configuration.
    std::vector<ClimbMove> planned = ordered(axes);
    for (ClimbMove& each : planned) narrow(each);
    ClimbMove move = planned.front();
    const auto next = std::find_if(planned.begin() + 1, planned.end(),
                                   [](const ClimbMove& later) { return later.arms.size() >= 2; });
    if (next != planned.end()) move.next = name_of(next->axis);
    const ClimbAxis axis = move.axis;
    axes.erase(std::find(axes.begin(), axes.end(), axis));
    if (move.arms.size() >= 2) {
      if (std::ssize(outcome_.moves) >= options_.most_moves) {
        if (outcome_.end == ClimbEnd::worth) outcome_.end = ClimbEnd::moves;
        return false;
      }
      if (!take_move(std::move(move), axes.size())) return false;
    }
    tried_at_[axis] = adopted_at_;
  }
  return true;
}

// Keeps only arms that were close before: another axis has moved meanwhile and may have changed their order.
void Climber::keep_close(ClimbMove& move) const {
  const auto was_far = [&](const MoveArm& arm) {
    for (const ClimbMove& before : outcome_.moves)
      for (size_t i = 1; before.axis == move.axis && i < before.arms.size(); ++i)
        if (before.arms[i].label == arm.label && before.result.race.most_gain(i) < -kClose) return true;
    return false;
  };
  leave_out(move, was_far);
}

// Keeps only the arms that the last race along this axis left open.
void Climber::keep_open(ClimbMove& move) const {
  const ClimbMove& before = *last_move(outcome_.moves, move.axis);
  const std::vector<size_t> open = open_arms(before, options_.worth);
  const auto is_settled = [&](const MoveArm& arm) {
    return std::none_of(open.begin(), open.end(),
                        [&](size_t i) { return before.arms[i].label == arm.label; });
  };
  leave_out(move, is_settled);
  move.earlier = before.earlier + 1;
}

// Returns the axes whose last move began before the last adoption, from another configuration.
std::vector<ClimbAxis> Climber::axes_before_adoption() const {
  std::vector<ClimbAxis> axes;
  for (const auto& [axis, at] : tried_at_)
    if (at < adopted_at_ && last_move(outcome_.moves, axis) != nullptr) axes.push_back(axis);
  return axes;
}

std::vector<ClimbAxis> Climber::open_axes() const {
  return axes_whose_last(outcome_.moves,
                         [&](const ClimbMove& move) { return !open_arms(move, options_.worth).empty(); });
}

// Returns true if more rounds might change the result.
bool Climber::is_anything_open() const {
  return !open_axes().empty() || !axes_whose_last(outcome_.moves, lacks_rounds).empty();
}

// Races once more what the races so far left open. Returns whether this may go on: some round was run.
bool Climber::go_on_with_open() {
  const size_t before = outcome_.moves.size();
  if (!go(open_axes(), [&](ClimbMove& move) { keep_open(move); })) return false;
  return std::any_of(outcome_.moves.begin() + static_cast<ptrdiff_t>(before), outcome_.moves.end(),
                     [](const ClimbMove& move) { return move.result.race.rounds() > 0; });
}

ClimbOutcome Climber::run(Store& store,
                          const std::function<void(const std::string& line, bool finished)>& show) {
  store_ = &store;
  show_ = show;
  const auto all = all_values<ClimbAxis>();
  bool goes_on = go({all.begin(), all.end()}, [](ClimbMove&) {});
  while (goes_on) {
    const std::vector<ClimbAxis> again = axes_before_adoption();
    goes_on = again.empty() ? go_on_with_open() : go(again, [&](ClimbMove& move) { keep_close(move); });
  }
  if (outcome_.end == ClimbEnd::worth && is_anything_open()) outcome_.end = ClimbEnd::budget;
  if (has_ended_well(outcome_.end) && outcome_.winner.resolved.options != outcome_.first.resolved.options)
    compare_with_first();
  outcome_.spent_s = budget_.spent_s();
  return outcome_;
}

MoveRequest Climber::request_of_last() const {
  MoveRequest request;
  // A climb with another budget may come to another winner, whose comparison is another experiment.
  request.name = experiment_name("total-" + short_identity(outcome_.winner.resolved.options));
  request.title = "Climb: the winner beside what was asked for";
  // Each gain was measured in its own race, so the product is only a hypothesis. This comparison tests it.
  request.hypothesis =
      fmt::format("The gains of the moves multiply to {}.", percent(product_of_gains(outcome_)));
  request.next_action = "bench --climbed takes the winner";
  request.command = options_.command;
  request.arms = {outcome_.first, outcome_.winner};
  request.arms[1].label = "winner";
  request.expect = {arm_threshold(request.arms[1], request.arms[0], "> 1")};
  request.rules.most_screening = kLastRounds;
  request.memory_bytes = options_.memory_bytes;
  request.fixed_rounds = true;
  return request;
}

// Measures the sum of the moves in rounds of its own, which had no part in any choice. Gains of single moves
// are biased upwards, because they were chosen for being large.
void Climber::compare_with_first() {
  const MoveRequest request = request_of_last();
  // The time that earlier moves had to leave was reserved for this comparison.
  budget_.reserve_s = 0;
  const MoveResult result = run_move(*store_, host_, request, budget_, show_);
  outcome_.first_result = result.arms[0];
  outcome_.winner_result = result.arms[1];
  const Series first{result.arms[0].rounds, result.arms[0].seconds},
      winner{result.arms[1].rounds, result.arms[1].seconds};
  if (!first.costs.empty() && !winner.costs.empty()) {
    const Ratio total = compare_speed(first, winner, 0);
    if (total.paired) outcome_.total = total;  // they have rounds in common
  }
  if (result.interrupted) {
    outcome_.end = ClimbEnd::interrupted;
    return;
  }
  outcome_.not_kept = why_not_kept(request, result, outcome_.total);
  if (result.arms[0].check_failed || result.arms[1].check_failed) outcome_.end = ClimbEnd::last_check_failed;
  std::string note;
  if (outcome_.total)
    note = fmt::format("The winner beside what was asked for: {} over {}. ", change_text(*outcome_.total),
                       count_text(outcome_.total->n, "round"));
  if (!outcome_.not_kept.empty()) note += fmt::format("The winner is not kept: {}. ", outcome_.not_kept);
  if (note.empty()) return;
  note.pop_back();
  note_once(*store_, request.name, note);
}

}  // namespace moehill
