// Implementation of climb/climb_report.h: the lines and the table of the report.
#include "moehill/climb/climb_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"
#include "moehill/experiments/matrix.h"

namespace moehill {
namespace {

std::string milliseconds(const std::optional<double>& seconds) {
  return seconds ? fmt::format("{:.2f} ms", 1e3 * *seconds) : "not known";
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.1f}", 100 * *share) : "-";
}

std::optional<double> bound_share(const MoveArm& arm, const MoveArmResult& result) {
  if (!arm.resolved.bound_seconds || result.seconds.empty()) return std::nullopt;
  return *arm.resolved.bound_seconds / median_of(result.seconds);
}

// Describes the fastest of the other arms, for a move that adopted nothing. An arm that was dropped as slower
// than another one is named only if there is no other, since its gain is of other rounds.
std::string fastest_of_others(const ClimbMove& move) {
  const Race& race = move.result.race;
  if (race.rounds() == 0) return "nothing was tried";
  const auto rank = [&](size_t i) { return std::pair(race.fate(i) != ArmFate::behind, race.gain(i)->ratio); };
  size_t fastest = 0;
  for (size_t i = 1; i < move.arms.size(); ++i) {
    if (race.fate(i) == ArmFate::failed || !race.gain(i)) continue;
    if (fastest == 0 || rank(i) > rank(fastest)) fastest = i;
  }
  if (fastest == 0) return "none";
  return fmt::format("none; fastest of the others: {} {}, {}", move.arms[fastest].label,
                     change_text(*race.gain(fastest)), name_of(race.fate(fastest)));
}

std::vector<std::string> row_of(const ClimbMove& move, size_t number, double total) {
  const Race& race = move.result.race;
  const size_t winner = race.winner();
  const MoveArmResult& result = move.result.arms.empty() ? MoveArmResult{} : move.result.arms[winner];
  const bool adopted = winner > 0;
  return {fmt::format("{} {}", number, name_of(move.axis)),
          adopted ? move.arms[winner].label : fastest_of_others(move),
          move.predicted_gain ? fmt::format("{:+.1f} %", 100 * (*move.predicted_gain - 1)) : "-",
          adopted ? change_text(*race.gain(winner)) : "-",
          fmt::format("{:.3f}", total),
          percent(result.peak_fraction),
          percent(bound_share(move.arms[winner], result))};
}

std::string total_lines(const ClimbOutcome& o) {
  std::string text;
  if (o.total)
    text = fmt::format(
        "the winner beside what was asked for, in rounds of their own: {} over {} ({:.2f} ms, {:.2f} ms "
        "before)\n",
        change_text(*o.total), count_text(o.total->n, "round"), 1e3 * median_of(o.winner_result.seconds),
        1e3 * median_of(o.first_result.seconds));
  const bool is_other = o.winner.resolved.options != o.first.resolved.options;
  if (!o.total && is_other && has_ended_well(o.end) && o.not_kept.empty())
    text = "no time was left to measure the winner beside what was asked for\n";
  if (!o.not_kept.empty()) text += fmt::format("not kept for bench --climbed: {}\n", o.not_kept);
  return text;
}

std::string most_gain_text(const MoveArm& arm, const Ratio& gain, double most) {
  if (gain.interval) return fmt::format("{} may gain up to {:.1f} %", arm.label, 100 * most);
  return fmt::format("{} was {:.1f} % faster in {}, and an interval needs {}", arm.label, 100 * most,
                     count_text(gain.n, "round"), kMinRounds);
}

// Says how much the arms that were left open might gain at most: the climb gives that up. Where an axis was
// tried several times, the last time counts.
std::string rest_line(const ClimbOutcome& o, double worth) {
  double most = worth;
  std::string text;
  for (const ClimbAxis axis : all_values<ClimbAxis>()) {
    const ClimbMove* move = last_move(o.moves, axis);
    if (move == nullptr) continue;
    const Race& race = move->result.race;
    for (const size_t i : open_arms(*move, worth)) {
      if (race.most_gain(i, race.winner()) <= most) continue;
      most = race.most_gain(i, race.winner());
      text = most_gain_text(move->arms[i], *race.gain(i, race.winner()), most);
    }
  }
  if (text.empty()) return "";
  return fmt::format("not excluded: {}{}\n", text,
                     o.end == ClimbEnd::budget ? "; more rounds could tell" : "");
}

// Names the axes of moves that were not begun, because the time that was left would not have decided them.
std::string not_begun_line(const ClimbOutcome& o) {
  if (o.not_begun.empty()) return "";
  std::vector<std::string> axes;
  for (const ClimbAxis axis : o.not_begun) {
    const bool again =
        std::any_of(o.moves.begin(), o.moves.end(), [&](const ClimbMove& move) { return move.axis == axis; });
    axes.push_back(name_of(axis) + std::string(again ? " once more" : ""));
  }
  const RaceRules rules;
  return fmt::format(
      "no time was left for: {} (a move takes {} runs at least, and the last comparison up to {:.0f} % of "
      "the "
      "budget)\n",
      fmt::join(axes, ", "), 2 * (rules.least_screening + rules.looks.front()), 100 * kMostReserved);
}

// Says how much of each arm a run takes.
std::string schedule_line(const StoredJson& resolved) {
  return fmt::format("a run takes {} of each arm at least, and {:g} s of steps (--iters, --min-time)\n",
                     count_text(resolved.value("iters", int64_t{0}), "step"),
                     resolved.value("min_time", 0.0));
}

}  // namespace

std::string plan_text(const std::vector<ClimbMove>& moves, const std::string& source) {
  std::vector<std::vector<std::string>> rows;
  std::string left_out;
  for (const ClimbMove& move : moves) {
    for (size_t i = 0; i < move.arms.size() && move.arms.size() > 1; ++i)
      rows.push_back({i == 0 ? name_of(move.axis) : "", move.arms[i].label,
                      milliseconds(move.arms[i].resolved.step_seconds),
                      fmt::format("{:.1f} s", move.arms[i].resolved.seconds.value_or(0)),
                      gib(move.arms[i].resolved.bytes.value_or(0))});
    for (const std::string& line : move.left_out) left_out += line + "\n";
  }
  return format_table({"axis", "arm", "predicted step", "a run", "memory"}, rows) + left_out +
         schedule_line(moves[0].arms[0].resolved.options) + "times predicted " + source + "\n";
}

std::string winner_line(const ClimbOutcome& outcome) {
  StoredJson options = winner_options(outcome);
  for (const char* how_often : {"iters", "warmup", "min_time", "ci_target"}) options.erase(how_often);
  std::string line = "moehill bench";
  for (const std::string& word : arguments_of(options)) line.append(" ").append(shell_word(word));
  return line;
}

std::string climb_text(const ClimbOutcome& o, const ClimbOptions& options) {
  std::vector<std::vector<std::string>> rows;
  double total = 1;
  const bool any = !o.moves.empty() && !o.moves[0].result.arms.empty();
  const MoveArmResult& start = any ? o.moves[0].result.arms[0] : MoveArmResult{};
  rows.push_back({"0 start", place_on(ClimbAxis::spread, o.first.resolved.options) + ", as asked for", "-",
                  "-", "1.000", percent(start.peak_fraction), percent(bound_share(o.first, start))});
  for (size_t i = 0; i < o.moves.size(); ++i) {
    total *= o.moves[i].gain;
    rows.push_back(row_of(o.moves[i], i + 1, total));
  }
  std::string text = fmt::format("winner: {}\n{}\n", winner_line(o), total_lines(o));
  text += format_table(
      {"move", "changed to", "predicted", "gain in speed", "total", "% of peak", "% of bound"}, rows);
  for (const ClimbMove& move : o.moves) {
    for (size_t i = 0; i < move.result.arms.size(); ++i) {
      const MoveArmResult& result = move.result.arms[i];
      if (!result.why_out.empty())
        text += fmt::format("{}: {}: {}\n", result.left_out ? "not run" : "out", move.arms[i].label,
                            result.why_out);
    }
    for (const std::string& line : move.left_out) text += line + "\n";
  }
  return text + rest_line(o, options.worth) + not_begun_line(o) +
         fmt::format("ended: {}; {} of {} spent\n", name_of(o.end), duration_text(o.spent_s),
                     duration_text(options.budget_s));
}

}  // namespace moehill
