// Implementation of report/exports.h: CSV, JSON lines and Markdown. The formats of other programs are in
// exports_other_tools.cc.
#include "moehill/report/exports.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <string_view>

#include "moehill/base/table.h"
#include "moehill/report/markdown.h"

namespace moehill {
namespace {

std::string number(double value) { return fmt::format("{:.6g}", value); }

// Writes both ends of an interval into one cell, and its coverage into another.
void put_interval(const std::optional<Interval>& interval, std::string* ends, std::string* coverage) {
  if (!interval) return;
  ends[0] = number(interval->lo);
  ends[1] = number(interval->hi);
  *coverage = number(interval->coverage);
}

// True for a cell that a spreadsheet would compute as a formula. A negative number is no formula.
bool is_formula(std::string_view cell) {
  if (cell.empty() || std::string_view("=@+-").find(cell[0]) == std::string_view::npos) return false;
  const char* const end = cell.data() + cell.size();
  double value = 0;
  const auto [stop, error] = std::from_chars(cell.data(), end, value);
  return error != std::errc() || stop != end || !std::isfinite(value);
}

std::string csv_line(const ExperimentView& view, const ResultRow& row) {
  const StoredPoint& point = view.points[row.point];
  std::vector<std::string> cells = {view.experiment.name, view.point_label(row),
                                    row.measured ? name_of(row.measured->path) : "", name_of(point.state),
                                    json_text(point.axes)};
  cells.resize(21);
  if (row.timed()) {
    const Summary tflops = tflops_summary(*row.measured);
    cells[5] = std::to_string(row.measured->rounds.size());
    cells[6] = std::to_string(row.measured->disturbed);
    cells[7] = number(median_of(row.measured->seconds));
    cells[8] = number(tflops.median);
    put_interval(tflops.interval, &cells[9], &cells[18]);
    cells[11] = number(median_of(row.measured->tokens_per_s));
  }
  if (row.against) {
    cells[12] = view.label(view.rows[*row.baseline]);
    cells[13] = number(row.against->ratio);
    put_interval(row.against->interval, &cells[14], &cells[19]);
    cells[16] = name_of(*row.verdict);
  }
  if (row.published) cells[17] = number(*row.published->tflops);
  cells[20] = view.repro(row);
  for (std::string& cell : cells) cell = csv_cell(cell);
  return fmt::format("{}\r\n", fmt::join(cells, ","));
}

std::vector<std::string> markdown_cells(const ExperimentView& view, const ResultRow& row) {
  std::vector<std::string> cells = {markdown_code(view.label(row)), "", "", "", "", "", ""};
  if (!row.timed()) {
    cells[6] = view.points[row.point].state == RunState::done
                   ? "no figure without a passed check"
                   : markdown_text(name_of(view.points[row.point].state));
    return cells;
  }
  const Summary tflops = tflops_summary(*row.measured);
  cells[1] = fmt::format("{:.1f}{}", 1e3 * tflops.median, interval_text(tflops.interval, "{:.1f}", 1e3));
  cells[2] = fmt::format("{:.5g}", median_of(row.measured->tokens_per_s));
  cells[3] = std::to_string(row.measured->rounds.size());
  if (row.published) {
    cells[4] = fmt::format("{:.0f}", 1e3 * *row.published->tflops);
    cells[5] = fmt::format("{:.3g}", tflops.median / *row.published->tflops);
  }
  cells[6] = row.against ? view.change(row) : "";
  return cells;
}

}  // namespace

std::string csv_cell(std::string text) {
  text = printable(text, ' ', "\n");
  if (is_formula(text)) {
    std::string calm(1, '\'');
    calm += text;
    text = calm;
  }
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string export_csv(const std::vector<ExperimentView>& views) {
  std::string text =
      "experiment,point,path,state,axes,rounds,disturbed_rounds,seconds,tflops,tflops_lo,tflops_hi,"
      "tokens_per_s,baseline,ratio,ratio_lo,ratio_hi,verdict,published_tflops,"
      "tflops_coverage,ratio_coverage,repro\r\n";
  for (const ExperimentView& view : views)
    for (const ResultRow& row : view.rows) text += csv_line(view, row);
  return text;
}

std::string export_json_lines(Store& store) {
  std::string text;
  for (const StoredExperiment& experiment : store.experiments()) {
    for (const StoredPoint& point : store.points(experiment.id)) {
      for (const StoredRecord& record : store.records(point.id)) {
        StoredJson json = record.json;
        json["experiment"] = experiment.name;
        json["point"] = point.label;
        json["repro"] = repro_of(experiment, point);
        json["round"] = record.round;
        json["disturbed"] = record.disturbed;
        text += json_text(json) + "\n";
      }
    }
  }
  return text;
}

std::string result_table_markdown(const ExperimentView& view) {
  std::vector<std::vector<std::string>> rows;
  for (const ResultRow& row : view.rows) rows.push_back(markdown_cells(view, row));
  return markdown_table(
      {"point", "GF/s", "tokens/s", "rounds", "published GF/s", "here / published", "against the baseline"},
      rows);
}

std::string export_markdown(const std::vector<ExperimentView>& views) {
  std::string text;
  for (const ExperimentView& view : views) {
    text += fmt::format("{}## {}\n\n{}\nEach row again:\n\n", text.empty() ? "" : "\n",
                        markdown_text(view.experiment.title), result_table_markdown(view));
    for (const ResultRow& row : view.rows)
      text += fmt::format("- {}: {}\n", markdown_code(view.label(row)), markdown_code(view.repro(row)));
  }
  return text;
}

}  // namespace moehill
