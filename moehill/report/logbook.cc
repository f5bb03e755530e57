// Implementation of report/logbook.h: one function for each section, in the order of the page.
#include "moehill/report/logbook.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "moehill/base/table.h"
#include "moehill/record/record.h"
#include "moehill/report/exports.h"
#include "moehill/report/findings.h"
#include "moehill/report/hypotheses.h"
#include "moehill/report/markdown.h"
#include "moehill/report/replayed.h"

namespace moehill {
namespace {

constexpr size_t kFew = 5;      // lines of a list on the first half page
constexpr size_t kLargest = 3;  // effects that are shown

std::string bullets(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += fmt::format("  - {}\n", line);
  return text;
}

// Turns "2026-02-09T13:40:00Z" into "2026-02-09 13:40".
std::string minute_of(const std::string& utc) {
  std::string text = utc.substr(0, 16);
  if (text.size() > 10 && text[10] == 'T') text[10] = ' ';
  return markdown_text(text);
}

// Book is everything from which the logbook is made.
struct Book {
  std::vector<ExperimentView> views;
  std::vector<Hypothesis> hypotheses;  // by view
  std::vector<StoredNoiseFloor> floors;
};

// Site is a machine with a build, as records name them, and the experiments that have results of it.
struct Site {
  const Measured* first = nullptr;
  std::string machine, build;
  std::vector<std::string> ids;
};

std::vector<Site> sites_of(const Book& book) {
  std::vector<Site> sites;
  for (size_t i = 0; i < book.views.size(); ++i) {
    for (const ResultRow& row : book.views[i].rows) {
      if (!row.measured) continue;
      const StoredJson env = row.measured->first.value("env", StoredJson::object());
      const std::string machine = machine_words(machine_name(env)),
                        build = env.contains("build") ? value_text(env["build"]) : "";
      auto site = std::find_if(sites.begin(), sites.end(), [&](const Site& known) {
        return known.machine == machine && known.build == build;
      });
      if (site == sites.end()) site = sites.insert(site, {&*row.measured, machine, build, {}});
      const std::string& id = book.hypotheses[i].id;
      if (site->ids.empty() || site->ids.back() != id) site->ids.push_back(id);
    }
  }
  return sites;
}

// Returns how many hypotheses have this state, with their ids.
std::string ids_in(const Book& book, HypothesisState state) {
  std::vector<std::string> ids;
  for (const Hypothesis& hypothesis : book.hypotheses)
    if (hypothesis.state == state) ids.push_back(hypothesis.id);
  return ids.empty() ? "none" : fmt::format("{} ({})", ids.size(), fmt::join(ids, ", "));
}

// Returns the questions that were asked, the machine, and when the experiments began.
std::string asked(const Book& book) {
  std::vector<std::string> titles;
  for (const ExperimentView& view : book.views) titles.push_back(markdown_text(view.experiment.title));
  const size_t num_shown = titles.size() <= kFew ? titles.size() : kFew - 1;
  std::string text =
      fmt::format("{}: {}", count_text(std::ssize(titles), "question"),
                  fmt::join(titles.begin(), titles.begin() + static_cast<int64_t>(num_shown), "; "));
  if (num_shown < titles.size()) text += fmt::format("; and {} more below", titles.size() - num_shown);
  std::set<std::string> others;
  const std::vector<Site> sites = sites_of(book);
  if (sites.empty()) return text;
  for (const Site& site : sites) others.insert(site.machine);
  others.erase(sites.front().machine);
  return text + fmt::format(". On {}{}, begun {}", markdown_text(sites.front().machine),
                            others.empty() ? "" : fmt::format(" and {} more", others.size()),
                            minute_of(book.views.front().begun_utc));
}

// Returns a line for each hypothesis that is not decided yet, with what is missing.
std::vector<std::string> not_decided(const Book& book) {
  std::vector<std::string> lines;
  for (const Hypothesis& hypothesis : book.hypotheses) {
    if (hypothesis.state == HypothesisState::active || hypothesis.state == HypothesisState::blocked)
      lines.push_back(fmt::format("{} {}: {}", hypothesis.id, name_of(hypothesis.state), hypothesis.why));
  }
  if (lines.size() <= kFew) return lines;
  const size_t more = lines.size() - (kFew - 1);
  lines.resize(kFew - 1);
  lines.push_back(fmt::format("and {} more in the queue", more));
  return lines;
}

// Returns the largest effects, at most one of each experiment. An effect counts if neither its interval nor
// the noise floor leaves doubt about it.
std::vector<std::string> largest_effects(const Book& book) {
  std::vector<std::pair<double, std::string>> effects;
  for (size_t i = 0; i < book.views.size(); ++i) {
    const ExperimentView& view = book.views[i];
    const ResultRow* largest = nullptr;
    // Effects are compared as logarithms, so that 2 times as fast and half as fast are equally large.
    const auto size_of = [](const ResultRow& row) { return std::abs(std::log(row.against->ratio)); };
    for (const ResultRow& row : view.rows) {
      const bool clear = row.verdict == Verdict::faster || row.verdict == Verdict::slower;
      if (clear && (largest == nullptr || size_of(row) > size_of(*largest))) largest = &row;
    }
    if (largest == nullptr) continue;
    effects.emplace_back(
        size_of(*largest),
        fmt::format("{}: {} over {}: {}", book.hypotheses[i].id, markdown_code(view.label(*largest)),
                    markdown_code(view.label(view.rows[*largest->baseline])), view.change(*largest)));
  }
  std::stable_sort(effects.begin(), effects.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> lines;
  for (size_t i = 0; i < effects.size() && i < kLargest; ++i) lines.push_back(effects[i].second);
  return lines;
}

// Returns the first half page: what was asked, answered, not decided, and the largest effects.
std::string summary(const Book& book) {
  std::string text = "# Research logbook\n\n## Summary\n";
  if (book.views.empty()) return text + "- nothing is measured yet\n\n";
  text += "- Asked: " + asked(book) + "\n";
  text += fmt::format("- Answered: promoted {}; falsified {}\n", ids_in(book, HypothesisState::promoted),
                      ids_in(book, HypothesisState::falsified));
  const std::vector<std::string> open = not_decided(book), effects = largest_effects(book);
  text += open.empty() ? "- Not decided: none\n" : "- Not decided:\n" + bullets(open);
  text += effects.empty() ? "- Largest effects: none is beyond the noise\n"
                          : "- Largest effects, one an experiment:\n" + bullets(effects);
  const std::vector<ReplayedRatio> replayed = replayed_ratios(book.views);
  return text + (replayed.empty() ? "\n" : "- Replayed: " + replayed_sentence(replayed) + "\n\n");
}

std::string published_results(const Book& book) {
  const std::string table = replayed_table(book.views);
  return table.empty() ? "" : "## Published Results\n\n" + table + "\n";
}

// Returns the section that says what is measured and under which constraints. It is the same in every book.
std::string scope() {
  return "## Scope\n"
         "- Goal: the throughput of a Mixture-of-Experts block, with and without expert parallelism, on the "
         "same cores.\n"
         "- Primary metrics: GF/s of the model's FLOPs, tokens/s, and the change against the baseline point "
         "of an experiment with its interval.\n"
         "- Constraints: every number has passed its check; points of an experiment are interleaved, round "
         "by "
         "round in processes of their own or step by step in one process a round; what differs between "
         "points is what the matrix says.\n\n";
}

// Returns the table of hypotheses. Their states follow from the rule of report/hypotheses.h.
std::string queue(const Book& book) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < book.views.size(); ++i) {
    const StoredExperiment& e = book.views[i].experiment;
    const Hypothesis& hypothesis = book.hypotheses[i];
    rows.push_back({hypothesis.id, name_of(hypothesis.state),
                    markdown_text(e.hypothesis.empty() ? e.title : e.hypothesis), hypothesis.why});
  }
  return "## Hypotheses\n\n" + markdown_table({"id", "state", "hypothesis", "why"}, rows, 4) + "\n";
}

// Describes a noise floor. A floor that was measured after the results of an experiment is not used for that
// experiment, and the text says so.
std::string floor_text(const Book& book, const StoredNoiseFloor& floor) {
  std::vector<std::string> late;
  for (size_t i = 0; i < book.views.size(); ++i)
    if (book.views[i].begun_utc < floor.time_utc) late.push_back(book.hypotheses[i].id);
  return fmt::format(
      "{:.2f} % between equal points{} over {}{}", 100 * floor.floor,
      is_floor_together(floor) ? " of one process" : "", count_text(floor.rounds, "round"),
      late.empty() ? ""
                   : fmt::format("; later than the results of {}, not used for them", fmt::join(late, ", ")));
}

// Returns the thresholds as they stood before the results: the program's own, the machine's, and the
// thresholds of the experiment files.
std::string thresholds(const Book& book) {
  std::vector<std::vector<std::string>> rows = {
      {"worth", fmt::format("{:.0f} %: without a noise floor nothing smaller is a result", 100 * kNegligible),
       "the program"},
      {"alpha",
       fmt::format("{:.0f} % of each comparison, by its interval of {:.0f} %; none below {} rounds",
                   100 * (1 - kCoverage), 100 * kCoverage, kMinRounds),
       "the program"}};
  for (const StoredNoiseFloor& floor : book.floors)
    rows.push_back(
        {"noise floor", floor_text(book, floor),
         fmt::format("{}, {}", markdown_text(machine_words(floor.machine)), minute_of(floor.time_utc))});
  for (size_t i = 0; i < book.views.size(); ++i) {
    const StoredExperiment& e = book.views[i].experiment;
    for (const StatedExpectation& stated : stated_expectations(e)) {
      const std::string late = stated.counts ? "" : fmt::format(", {}", kNamedLate);
      rows.push_back({book.hypotheses[i].id, markdown_code(stated.text) + late, markdown_code(e.name)});
    }
  }
  return "## Thresholds\n\n" + markdown_table({"threshold", "value", "from"}, rows, 3) + "\n";
}

// Returns the cells of a baseline point: label, speed, tokens/s, share of the peak.
std::vector<std::string> baseline_cells(const ExperimentView& view, const ResultRow& row) {
  const Summary tflops = tflops_summary(*row.measured);
  const auto share = part_of<RecordedPeak>(row.measured->first, "peak").fraction;
  return {markdown_code(view.label(row)),
          fmt::format("{:.1f}{}", 1e3 * tflops.median, interval_text(tflops.interval, "{:.1f}", 1e3)),
          fmt::format("{:.5g}", median_of(row.measured->tokens_per_s)),
          share ? fmt::format("{:.0f} %", 100 * *share) : ""};
}

// Returns the section on the machines and the baseline points, to which all changes refer.
std::string baseline(const Book& book) {
  std::string text = "## Baseline\n";
  const std::vector<Site> sites = sites_of(book);
  if (sites.empty()) return text + "- nothing is measured yet\n\n";
  for (const Site& site : sites) {
    const std::string whose = sites.size() == 1 ? "" : fmt::format(" ({})", fmt::join(site.ids, ", "));
    text += fmt::format("- Machine: {}{}\n", markdown_text(site.machine), whose);
    if (!site.build.empty()) text += fmt::format("- Build: {}{}\n", markdown_text(site.build), whose);
    // The peak is that of the first result's type.
    const StoredJson dtype = at_or_null(site.first->first, "/config/dtype");
    if (site.first->peak_tflops)
      text += fmt::format("- Measured peak: {:.1f} GF/s{}{}\n", 1e3 * *site.first->peak_tflops,
                          dtype.is_string() ? " of " + markdown_text(value_text(dtype)) : "", whose);
  }
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < book.views.size(); ++i) {
    const ExperimentView& view = book.views[i];
    for (const ResultRow& row : view.rows) {
      if (!row.timed() || !view.points[row.point].is_baseline || row.baseline) continue;
      rows.push_back(baseline_cells(view, row));
      rows.back().insert(rows.back().begin(), book.hypotheses[i].id);
    }
  }
  if (rows.empty()) return text + "\n";
  return text + "\n" + markdown_table({"id", "baseline", "GF/s", "tokens/s", "of peak"}, rows, 2) + "\n";
}

// Returns the section that says when each experiment ends, and how far it is.
std::string stop_criteria(const Book& book) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < book.views.size(); ++i) {
    const ExperimentView& view = book.views[i];
    const StoredExperiment& e = view.experiment;
    int64_t done = 0, failed = 0;
    for (const StoredPoint& point : view.points) {
      done += point.state == RunState::done ? 1 : 0;
      failed += has_failed(point.state) ? 1 : 0;
    }
    rows.push_back(
        {book.hypotheses[i].id,
         fmt::format("{} of {}, {} of one that fails, {} s each", count_text(e.rounds, "round"),
                     count_text(std::ssize(view.points), "point"),
                     count_text(e.retries, "more try", "more tries"), e.timeout_s),
         fmt::format("{} done, {} failed, {} open", done, failed, std::ssize(view.points) - done - failed),
         markdown_text(e.options_note)});
  }
  return "## Stop Criteria\n\nAn experiment ends when each of its points has a result for each round, or has "
         "failed as often as allowed.\n\n" +
         markdown_table({"id", "ends after", "points", "sizes"}, rows, 4) + "\n";
}

// Returns each axis with its values in the order of the points.
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
    // Values that contain commas are separated by "or", since a comma could belong to a value.
    const auto has_comma = [](const std::string& value) { return value.find(',') != std::string::npos; };
    const char* between = std::any_of(values.begin(), values.end(), has_comma) ? " or " : ", ";
    parts.push_back(markdown_code(fmt::format("{} = {}", name, fmt::join(values, between))));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

// Returns the section with the axes of each experiment.
std::string matrix(const Book& book) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < book.views.size(); ++i) {
    const ExperimentView& view = book.views[i];
    rows.push_back({book.hypotheses[i].id, markdown_code(view.experiment.name), axes_text(view)});
  }
  return "## Experiment Matrix\n\n" + markdown_table({"id", "experiment", "axes"}, rows, 3) + "\n";
}

// Returns the command of the sweep and the commands of its points, as a user would type them.
std::vector<std::string> commands(const ExperimentView& view) {
  const std::string sweep =
      fmt::format("moehill sweep {}", shell_word(fmt::format("{}.toml", view.experiment.name)));
  const std::string told = part_of<std::string>(view.experiment.sizing, "command");
  std::vector<std::string> lines = {markdown_code(told.empty() ? sweep : told)};
  for (const StoredPoint& point : view.points)
    lines.push_back(markdown_code(repro_of(view.experiment, point)));
  return lines;
}

// Returns the options that all points share in one line, then rounds and sizes.
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
  lines.push_back(fmt::format("{}, at most {} of a point that fails",
                              count_text(view.experiment.rounds, "round"),
                              count_text(view.experiment.retries, "more try", "more tries")));
  if (!view.experiment.options_note.empty()) lines.push_back(markdown_text(view.experiment.options_note));
  return lines;
}

// Returns the entry of one experiment: hypothesis, commands, results, interpretation and the author's notes.
std::string entry(const ExperimentView& view, const Hypothesis& hypothesis) {
  const StoredExperiment& e = view.experiment;
  std::string text =
      fmt::format("### {} - {} ({})\n- Hypothesis: {}: {}\n- Command:\n{}- Config:\n{}- Result:\n\n{}\n",
                  minute_of(e.created_utc), markdown_text(e.title), hypothesis.id, hypothesis.id,
                  e.hypothesis.empty() ? "none" : markdown_text(e.hypothesis), bullets(commands(view)),
                  bullets(config(view)), result_table_markdown(view));
  text += fmt::format("- Interpretation:\n  - {} is {}: {}\n", hypothesis.id, name_of(hypothesis.state),
                      hypothesis.why) +
          bullets(findings(view));
  for (const StoredNote& note : view.notes)
    text += fmt::format("  - Note of {}: {}\n", minute_of(note.time_utc), markdown_text(note.text));
  return text +
         fmt::format("- Next action: {}\n\n", e.next_action.empty() ? "none" : markdown_text(e.next_action));
}

}  // namespace

// The sections go from the summary to the details, so that a reader may stop anywhere.
std::string render_logbook(Store& store, const std::vector<PublishedRow>& published) {
  Book book{load_views(store, published), {}, store.noise_floors()};
  book.hypotheses = hypotheses_of(book.views);
  std::string text = summary(book) + published_results(book) + queue(book) + thresholds(book) + scope() +
                     baseline(book) + stop_criteria(book) + matrix(book) + "## Experiment Log\n";
  for (size_t i = 0; i < book.views.size(); ++i) text += entry(book.views[i], book.hypotheses[i]);
  text.pop_back();
  return text;
}

}  // namespace moehill
