// Implementation of report/exports.h for one command's records in the forms of hyperfine 1.20, so that
// programs that read its results can read these. A row without a passed check has no figures. The CPU time is
// not split into user and system: `user` has all of it, and `system` is empty.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "moehill/report/exports.h"
#include "moehill/report/markdown.h"

namespace moehill {
namespace {

// Figures are seconds; all are empty in a row without figures.
struct Figures {
  Figure mean, stddev, median, user, min, max;
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

Figures figures_of(const ExportedRow& row) {
  const auto times = part_of<RecordedTimes>(row.record, "time_s");
  if (!tflops_of(row.record) || times.samples.empty()) return {};
  const double mean = mean_of(times.samples);
  Figure stddev;
  if (times.samples.size() > 1) {
    double squares = 0;
    for (const double sample : times.samples) squares += (sample - mean) * (sample - mean);
    stddev = std::sqrt(squares / static_cast<double>(times.samples.size() - 1));
  }
  return {mean, stddev, times.median, times.all_cpu_s(), times.min, times.max};
}

std::string repro_of(const ExportedRow& row) {
  return part_of<Words>(row.record, "repro").value_or("moehill bench");
}

// Returns the names of all rows' parameters, in the order in which rows first have them. Points of -L point
// may set different options.
std::vector<std::string> parameter_names(const std::vector<ExportedRow>& rows) {
  std::vector<std::string> names;
  for (const ExportedRow& row : rows) {
    for (const auto& [name, value] : row.parameters)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

// Returns the value of a row's parameter; "" if the row does not have it.
std::string parameter_of(const ExportedRow& row, const std::string& name) {
  const auto found = std::find_if(row.parameters.begin(), row.parameters.end(),
                                  [&](const auto& parameter) { return parameter.first == name; });
  return found == row.parameters.end() ? "" : found->second;
}

std::string csv_figure(const Figure& figure) { return figure ? fmt::format("{:.9g}", *figure) : ""; }

StoredJson json_figure(const Figure& figure) { return figure ? StoredJson(*figure) : StoredJson(nullptr); }

}  // namespace

std::string hyperfine_csv(const std::vector<ExportedRow>& rows) {
  std::string text = "command,mean,stddev,median,user,system,min,max";
  const std::vector<std::string> names = parameter_names(rows);
  for (const std::string& name : names) text += fmt::format(",parameter_{}", csv_cell(name));
  text += ",name,gflops\r\n";
  for (const ExportedRow& row : rows) {
    const Figures f = figures_of(row);
    text += fmt::format("{},{},{},{},{},,{},{}", csv_cell(repro_of(row)), csv_figure(f.mean),
                        csv_figure(f.stddev), csv_figure(f.median), csv_figure(f.user), csv_figure(f.min),
                        csv_figure(f.max));
    for (const std::string& name : names) text += fmt::format(",{}", csv_cell(parameter_of(row, name)));
    const Figure tflops = tflops_of(row.record);
    text +=
        fmt::format(",{},{}\r\n", csv_cell(row.label), csv_figure(tflops ? Figure(1e3 * *tflops) : Figure()));
  }
  return text;
}

std::string hyperfine_json(const std::vector<ExportedRow>& rows) {
  StoredJson results = StoredJson::array();
  for (const ExportedRow& row : rows) {
    const Figures f = figures_of(row);
    StoredJson parameters = StoredJson::object();
    for (const auto& [name, value] : row.parameters) parameters[name] = value;
    const Figure tflops = tflops_of(row.record);
    const std::vector<double> times =
        f.mean ? part_of<RecordedTimes>(row.record, "time_s").samples : std::vector<double>();
    const auto status = check_status_of(row.record);
    results.push_back({{"command", repro_of(row)},
                       {"name", row.label},
                       {"mean", json_figure(f.mean)},
                       {"stddev", json_figure(f.stddev)},
                       {"median", json_figure(f.median)},
                       {"user", json_figure(f.user)},
                       {"system", nullptr},
                       {"min", json_figure(f.min)},
                       {"max", json_figure(f.max)},
                       {"times", times},
                       {"exit_codes", std::vector<int>(times.size(), 0)},
                       {"gflops", tflops ? StoredJson(1e3 * *tflops) : StoredJson(nullptr)},
                       {"check", status ? StoredJson(name_of(*status)) : StoredJson(nullptr)},
                       {"parameters", parameters}});
  }
  return StoredJson{{"results", results}}.dump(2, ' ', false, StoredJson::error_handler_t::replace) + "\n";
}

std::string hyperfine_markdown(const std::vector<ExportedRow>& rows) {
  Figure fastest;
  for (const ExportedRow& row : rows) {
    const Figures f = figures_of(row);
    if (f.mean && (!fastest || *f.mean < *fastest)) fastest = f.mean;
  }
  std::vector<std::vector<std::string>> cells;
  for (const ExportedRow& row : rows) {
    const Figures f = figures_of(row);
    const Figure tflops = tflops_of(row.record);
    const auto milliseconds = [](const Figure& figure) {
      return figure ? fmt::format("{:.2f}", 1e3 * *figure) : "";
    };
    cells.push_back({markdown_code(row.label),
                     f.stddev ? fmt::format("{} ± {}", milliseconds(f.mean), milliseconds(f.stddev))
                              : milliseconds(f.mean),
                     milliseconds(f.min), milliseconds(f.max),
                     f.mean ? fmt::format("{:.2f}", *f.mean / *fastest) : "",
                     tflops ? fmt::format("{:.1f}", 1e3 * *tflops) : "", markdown_code(repro_of(row))});
  }
  return markdown_table({"Command", "Mean [ms]", "Min [ms]", "Max [ms]", "Relative", "GF/s", "Again by"},
                        cells);
}

}  // namespace moehill
