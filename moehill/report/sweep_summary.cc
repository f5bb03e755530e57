// Implementation of report/sweep_summary.h.
#include "moehill/report/sweep_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/report/findings.h"

namespace moehill {
namespace {

std::string label_of(const ExperimentView& view, const ResultRow& row) {
  return printable(view.label(row)) + (view.points[row.point].is_baseline ? " (baseline)" : "");
}

std::vector<std::string> cells_of(const ExperimentView& view, const ResultRow& row) {
  std::vector<std::string> cells = {
      label_of(view, row), name_of(view.points[row.point].state), "0", "-", "-", ""};
  if (!row.measured) return cells;
  const Measured& measured = *row.measured;
  cells[2] = std::to_string(measured.rounds.size());
  if (!row.timed()) return cells;
  cells[3] = fmt::format("{:.2f}", 1e3 * median_of(measured.seconds));
  cells[4] = fmt::format("{:.1f}", 1e3 * median_of(measured.tflops));
  if (row.against) cells[5] = view.change(row);
  return cells;
}

std::string disturbed_line(const ExperimentView& view) {
  int64_t disturbed = 0, all = 0;
  for (const ResultRow& row : view.rows) {
    if (!row.measured) continue;
    disturbed += row.measured->disturbed;
    all += std::ssize(row.measured->rounds);
  }
  if (all == 0) return "";
  return fmt::format("{} of {} ({:.0f} %) {} disturbed by other work{}\n", disturbed,
                     count_text(all, "result"),
                     100.0 * static_cast<double>(disturbed) / static_cast<double>(all),
                     disturbed == 1 ? "was" : "were", disturbed == 0 ? "" : "; a quiet machine decides more");
}

// Returns a line where several hosts measured, since not every round counts then.
std::string hosts_line(const ExperimentView& view) {
  std::set<std::string> hosts;
  for (const ResultRow& row : view.rows) {
    if (row.measured) hosts.insert(row.measured->hosts.begin(), row.measured->hosts.end());
  }
  hosts.erase("");
  if (hosts.size() < 2) return "";
  return printable(fmt::format(
             "measured on {} hosts ({}): a comparison takes only rounds that had both sides on one host",
             hosts.size(), fmt::join(hosts, ", "))) +
         "\n";
}

int64_t count_points(const ExperimentView& view, bool (*belongs)(RunState)) {
  return std::count_if(view.points.begin(), view.points.end(),
                       [&](const StoredPoint& point) { return point.is_current && belongs(point.state); });
}

}  // namespace

std::string sweep_summary(const ExperimentView& view) {
  std::vector<std::vector<std::string>> rows;
  for (const ResultRow& row : view.rows) {
    if (view.points[row.point].is_current) rows.push_back(cells_of(view, row));
  }
  std::string text;
  std::vector<std::string> answers = expectation_lines(view);
  if (answers.empty()) answers = winner_lines(view);
  for (const std::string& line : answers) text += printable(line) + "\n";
  return text +
         format_table({"point", "state", "rounds", "ms (median of medians)", "GF/s", "against the baseline"},
                      rows) +
         disturbed_line(view) + hosts_line(view);
}

std::string list_experiments(const std::vector<ExperimentView>& views) {
  if (views.empty()) return "no experiment is in this database\n";
  std::vector<std::vector<std::string>> rows;
  for (const ExperimentView& view : views) {
    const int64_t all = count_points(view, [](RunState) { return true; });
    const int64_t done = count_points(view, [](RunState state) { return state == RunState::done; });
    const int64_t open = count_points(
        view, [](RunState state) { return state == RunState::pending || state == RunState::running; });
    rows.push_back({printable(view.experiment.name), fmt::format("{} of {}", done, all),
                    std::to_string(all - done - open), std::to_string(view.experiment.rounds),
                    view.experiment.created_utc, printable(view.experiment.title)});
  }
  return format_table({"experiment", "points done", "failed", "rounds", "begun (UTC)", "title"}, rows);
}

}  // namespace moehill
