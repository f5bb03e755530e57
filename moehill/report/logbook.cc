#include "moehill/report/logbook.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "moehill/report/exports.h"
#include "moehill/report/findings.h"
#include "moehill/report/markdown.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

std::string bullets(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += fmt::format("  - {}\n", line);
  return text;
}

const Measured* first_measured(const std::vector<ExperimentView>& views) {
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (row.measured) return &*row.measured;
    }
  }
  return nullptr;
}

std::string scope() {
  return "# Research logbook\n\n## Scope\n"
         "- Goal: the throughput of a Mixture-of-Experts block, with and without expert parallelism, on the "
         "same cores.\n"
         "- Primary metrics: TF/s of the model's FLOPs, tokens/s, and the change against the baseline point "
         "of an experiment with its interval.\n"
         "- Constraints: every number has passed its check; points of an experiment are interleaved round by "
         "round, each run in a process of its own; what differs between points is what the matrix says.\n\n";
}

std::string baseline(Store& store, const std::vector<ExperimentView>& views) {
  std::vector<std::string> lines;
  if (const Measured* measured = first_measured(views)) {
    const StoredJson env = measured->first.value("env", StoredJson::object());
    lines.push_back("Machine: " + markdown_text(machine_name(env)));
    if (env.contains("build")) lines.push_back("Build: " + markdown_text(value_text(env["build"])));
    if (measured->peak_tflops)
      lines.push_back(fmt::format("Measured peak: {:.4g} TF/s", *measured->peak_tflops));
  }
  for (const StoredNoiseFloor& floor : store.noise_floors()) {
    lines.push_back(fmt::format("Noise floor of {}: {:.2f} % between equal points, {} rounds, {}",
                                markdown_text(floor.machine), 100 * floor.floor, floor.rounds,
                                markdown_text(floor.time_utc)));
  }
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (!row.timed() || !view.points[row.point].is_baseline || row.baseline) continue;
      lines.push_back(fmt::format("{}, {}: {:.4g} TF/s", markdown_text(view.experiment.title),
                                  markdown_code(view.label(row)), tflops_summary(*row.measured).median));
    }
  }
  std::string text = "## Baseline\n";
  for (const std::string& line : lines) text += fmt::format("- {}\n", line);
  return text + (lines.empty() ? "- nothing is measured yet\n\n" : "\n");
}

std::string stop_criteria(const std::vector<ExperimentView>& views) {
  std::string text =
      "## Stop Criteria\n- Every point of the matrix has a result for each of its rounds, or has failed as "
      "often as allowed.\n- Every expectation that was fixed beforehand is met, not met, or shown to be "
      "undecided at the noise of this machine.\n";
  for (const ExperimentView& view : views) {
    for (const std::string& expectation : view.experiment.expect)
      text += fmt::format("- {}: {}\n", markdown_text(view.experiment.title), markdown_code(expectation));
  }
  return text + "\n";
}

// Axis: its values in the order of the points.
std::string axes_text(const ExperimentView& view) {
  std::vector<std::pair<std::string, std::vector<std::string>>> axes;
  for (const StoredPoint& point : view.points) {
    for (const auto& [name, value] : point.axes.items()) {
      auto axis =
          std::find_if(axes.begin(), axes.end(), [&, key = name](const auto& a) { return a.first == key; });
      if (axis == axes.end()) axis = axes.insert(axes.end(), {name, {}});
      const std::string text = value_text(value);
      if (std::find(axis->second.begin(), axis->second.end(), text) == axis->second.end())
        axis->second.push_back(text);
    }
  }
  std::vector<std::string> parts;
  for (const auto& [name, values] : axes) {
    const auto has_comma = [](const std::string& value) { return value.find(',') != std::string::npos; };
    const char* between = std::any_of(values.begin(), values.end(), has_comma) ? " or " : ", ";
    parts.push_back(markdown_code(fmt::format("{} = {}", name, fmt::join(values, between))));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string matrix(const std::vector<ExperimentView>& views) {
  std::vector<std::vector<std::string>> rows;
  for (const ExperimentView& view : views) {
    int64_t done = 0;
    for (const StoredPoint& point : view.points) done += point.state == RunState::done ? 1 : 0;
    rows.push_back({markdown_code(view.experiment.name), axes_text(view),
                    fmt::format("{} of {}", done, view.points.size()),
                    std::to_string(view.experiment.rounds)});
  }
  return "## Experiment Matrix\n" + markdown_table({"experiment", "axes", "points done", "rounds"}, rows) +
         "\n";
}

std::vector<std::string> commands(const ExperimentView& view) {
  const std::string sweep = fmt::format("moehill sweep {}.toml", view.experiment.name);
  std::vector<std::string> lines = {markdown_code(view.experiment.sizing.value("command", sweep))};
  for (const StoredPoint& point : view.points) {
    const std::string launcher = view.experiment.launcher.empty() ? "" : view.experiment.launcher + " ";
    lines.push_back(markdown_code(
        fmt::format("{}moehill {} {}", launcher, view.experiment.command, fmt::join(point.arguments, " "))));
  }
  return lines;
}

// Options that all points share, in one line, then sizing, layout and rounds.
std::vector<std::string> config(const ExperimentView& view) {
  std::vector<std::string> shared, lines;
  if (!view.points.empty()) {
    for (const auto& [name, value] : view.points[0].options.items()) {
      const bool same = std::all_of(view.points.begin(), view.points.end(),
                                    [&, key = name, &expected = value](const StoredPoint& point) {
                                      return point.options.contains(key) && point.options[key] == expected;
                                    });
      if (same && !value.is_null()) shared.push_back(fmt::format("{}={}", name, value_text(value)));
    }
  }
  if (!shared.empty()) lines.push_back(markdown_code(fmt::format("{}", fmt::join(shared, ", "))));
  const auto counted = [](int64_t n, const char* one, const char* more) {
    return fmt::format("{} {}", n, n == 1 ? one : more);
  };
  lines.push_back(fmt::format("{}, at most {} of a point that fails",
                              counted(view.experiment.rounds, "round", "rounds"),
                              counted(view.experiment.retries, "more try", "more tries")));
  if (!view.experiment.options_note.empty()) lines.push_back(markdown_text(view.experiment.options_note));
  return lines;
}

// "2026-02-09 13:40" of "2026-02-09T13:40:00Z".
std::string minute_of(const std::string& utc) {
  std::string text = utc.substr(0, 16);
  if (text.size() > 10 && text[10] == 'T') text[10] = ' ';
  return markdown_text(text);
}

std::string entry(const ExperimentView& view) {
  const StoredExperiment& e = view.experiment;
  std::string text = fmt::format(
      "### {} - {}\n- Hypothesis: {}\n- Command:\n{}- Config:\n{}- Result:\n\n{}\n", minute_of(e.created_utc),
      markdown_text(e.title), e.hypothesis.empty() ? "none" : markdown_text(e.hypothesis),
      bullets(commands(view)), bullets(config(view)), result_table_markdown(view));
  text += "- Interpretation:\n" + bullets(findings(view));
  for (const StoredNote& note : view.notes)
    text += fmt::format("  - Note of {}: {}\n", minute_of(note.time_utc), markdown_text(note.text));
  return text +
         fmt::format("- Next action: {}\n\n", e.next_action.empty() ? "none" : markdown_text(e.next_action));
}

}  // namespace

std::string render_logbook(Store& store, const std::vector<PublishedRow>& published) {
  const std::vector<ExperimentView> views = load_views(store, published);
  std::string text =
      scope() + baseline(store, views) + stop_criteria(views) + matrix(views) + "## Experiment Log\n";
  for (const ExperimentView& view : views) text += entry(view);
  text.pop_back();
  return text;
}

}  // namespace moehill
