// Implementation of report/results_view.h: each result of the database gets its baseline, its published
// number and its noise floor.
#include "moehill/report/results_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <sstream>

#include "moehill/base/table.h"
#include "moehill/record/record.h"

namespace moehill {
namespace {

// Returns the options that decide how a step is computed and timed, without those that only say how often.
StoredJson computed_config(const StoredJson& record) {
  StoredJson config = at_or_null(record, "/config");
  for (const char* key : {"preset", "iters", "warmup", "min_time", "ci_target"})
    if (config.is_object()) config.erase(key);
  return config;
}

// Notes what sets rows of one point and path apart.
void tell_rows_apart(std::vector<ResultRow*> rows) {
  while (rows.size() > 1) {
    const ProfilePath path = rows.front()->measured->path;
    const auto others = std::stable_partition(
        rows.begin(), rows.end(), [&](const ResultRow* row) { return row->measured->path == path; });
    std::vector<StoredJson> subjects;
    for (auto row = rows.begin(); row != others; ++row)
      subjects.push_back(subject_of((*row)->measured->first));
    const std::vector<StoredJson> differences = differences_of(subjects);
    for (size_t i = 0; i < differences.size(); ++i) rows[i]->variant = differences[i];
    rows.erase(rows.begin(), others);
  }
}

// Returns a row for each result of each point. A point without results has a row without figures.
std::vector<ResultRow> rows_of(Store& store, const std::vector<StoredPoint>& points,
                               const std::string& section, const std::vector<PublishedRow>& published) {
  std::vector<ResultRow> rows;
  for (size_t i = 0; i < points.size(); ++i) {
    const std::vector<Measured> all = measure(store.records(points[i].id));
    if (all.empty()) rows.push_back({i, std::nullopt, {}, {}, {}, {}});
    const size_t begin = rows.size();
    for (const Measured& measured : all) {
      ResultRow row{i, measured, {}, {}, {}, {}};
      if (const PublishedRow* found = find_published(
              published, section, at_or_null(measured.first, "/config"), name_of(measured.path)))
        row.published = *found;
      rows.push_back(row);
    }
    std::vector<ResultRow*> own;
    for (size_t r = begin; r < rows.size(); ++r) own.push_back(&rows[r]);
    tell_rows_apart(own);
  }
  return rows;
}

// Returns the row with which a row is compared: the baseline point's row on the same path. Paths of `profile`
// are compared with staged_dp of their own point, unless the experiment names a baseline.
std::optional<size_t> baseline_row(const ExperimentView& view, const ResultRow& row) {
  const ProfilePath path = row.measured->path;
  const bool beside_staged = path != ProfilePath::none && view.experiment.baseline.empty();
  const StoredPoint* other =
      beside_staged ? &view.points[row.point] : baseline_of(view.points, view.points[row.point]);
  if (other == nullptr || (beside_staged && path == ProfilePath::staged_dp)) return std::nullopt;
  return partner_of(view, row, static_cast<size_t>(other - view.points.data()),
                    beside_staged ? ProfilePath::staged_dp : path);
}

// Returns true if no option has two values in two variants. Hashes say nothing, since the plan of another
// spread is another one in any case.
bool variants_agree(const StoredJson& a, const StoredJson& b) {
  return std::all_of(a.items().begin(), a.items().end(), [&](const auto& item) {
    const bool is_hash = std::find(std::begin(kSubjectHashes), std::end(kSubjectHashes), item.key()) !=
                         std::end(kSubjectHashes);
    return is_hash || !b.contains(item.key()) || b[item.key()] == item.value();
  });
}

int64_t num_common_rounds(const Measured& a, const Measured& b) {
  return std::count_if(a.rounds.begin(), a.rounds.end(), [&](int64_t round) {
    return std::binary_search(b.rounds.begin(), b.rounds.end(), round);
  });
}

// Returns when the first attempt that counts began; without one, when the experiment was made.
std::string begun_utc(Store& store, const ExperimentView& view) {
  std::string first;
  for (const StoredPoint& point : view.points) {
    for (const StoredAttempt& attempt : store.attempts(point.id))
      if (attempt.counts && (first.empty() || attempt.started_utc < first)) first = attempt.started_utc;
  }
  return first.empty() ? view.experiment.created_utc : first;
}

// Returns the times of one side of a noise floor; none if they are missing or no times.
std::vector<double> times_at(const StoredJson& details, const char* side) {
  const auto times = part_of<std::vector<double>>(details, side);
  const bool are_times =
      std::all_of(times.begin(), times.end(), [](double time) { return time > 0 && std::isfinite(time); });
  return are_times ? times : std::vector<double>{};
}

// Returns true if one process measured all rows of each round. Some rounds may have a process for each point,
// for example because the process of all points failed; such rounds differ more by chance.
bool is_measured_together(const std::vector<ResultRow>& rows) {
  std::map<int64_t, std::string> process_of;  // by round
  size_t num_timed = 0;
  for (const ResultRow& row : rows) {
    if (!row.timed()) continue;
    ++num_timed;
    for (size_t i = 0; i < row.measured->rounds.size(); ++i) {
      const std::string& process = row.measured->processes[i];
      if (process.empty() || process_of.emplace(row.measured->rounds[i], process).first->second != process)
        return false;
    }
  }
  return num_timed > 1;
}

// Returns the newest noise floor that was known when the results began, so that nobody can choose a threshold
// after seeing the results.
std::optional<double> floor_beforehand(std::vector<StoredNoiseFloor> floors, const ExperimentView& view) {
  std::erase_if(floors, [&](const StoredNoiseFloor& floor) { return floor.time_utc > view.begun_utc; });
  const auto first = std::find_if(view.rows.begin(), view.rows.end(),
                                  [](const ResultRow& row) { return row.measured.has_value(); });
  if (first == view.rows.end()) return std::nullopt;
  return floor_of(floors, at_or_null(first->measured->first, "/env"), view.experiment.rounds,
                  is_measured_together(view.rows));
}

// Fills in the baseline, ratio and verdict of each row.
void compare_rows(ExperimentView& view) {
  for (ResultRow& row : view.rows) {
    if (!row.timed()) continue;
    row.baseline = baseline_row(view, row);
    if (!row.baseline) continue;
    const Measured& base = *view.rows[*row.baseline].measured;
    const Ratio ratio = compare_speed(series_of(base), series_of(*row.measured), 0);
    // The two have no round on one host.
    if (ratio.n == 0) {
      row.baseline.reset();
      continue;
    }
    row.against = ratio;
    row.verdict = verdict_of(base.first, row.measured->first, *row.against, view.floor);
  }
}

}  // namespace

std::string ExperimentView::point_label(const ResultRow& row) const {
  const std::string &name = points[row.point].label, apart = difference_words(row.variant);
  return apart.empty() ? name : fmt::format("{} ({})", name, apart);
}

std::string ExperimentView::label(const ResultRow& row) const {
  const std::string path = row.measured ? name_of(row.measured->path) : "";
  return path.empty() ? point_label(row) : fmt::format("{} {}", path, point_label(row));
}

std::optional<size_t> partner_of(const ExperimentView& view, const ResultRow& row, size_t point,
                                 ProfilePath path) {
  std::optional<size_t> best;
  int64_t most = -1;
  for (size_t i = 0; i < view.rows.size(); ++i) {
    const ResultRow& other = view.rows[i];
    if (other.point != point || !other.timed() || other.measured->path != path ||
        !variants_agree(row.variant, other.variant))
      continue;
    const int64_t common = num_common_rounds(*row.measured, *other.measured);
    if (common > most) best = i, most = common;
  }
  return best;
}

std::string repro_of(const StoredExperiment& experiment, const StoredPoint& point) {
  const std::string name = "{devices}", devices = json_text(point.options.value("devices", StoredJson(1)));
  std::string text;
  // The launcher is run without a shell: its words end at blanks, whatever else they have.
  std::istringstream words(experiment.launcher);
  for (std::string word; words >> word;) {
    for (size_t place = word.find(name); place != std::string::npos; place = word.find(name, place))
      word.replace(place, name.size(), devices);
    text += fmt::format("{} ", shell_word(word));
  }
  text += fmt::format("moehill {}", experiment.command);
  for (const std::string& argument : point.arguments) text += fmt::format(" {}", shell_word(argument));
  return text;
}

std::string ExperimentView::change(const ResultRow& row) const {
  const Ratio& ratio = *row.against;
  const bool cannot_tell = row.verdict == Verdict::cannot_tell;
  const std::string verdict = cannot_tell ? verdict_words(ratio, floor) : name_of(*row.verdict);
  const auto median_cost = [](const ResultRow& of) { return median_of(series_of(*of.measured).costs); };
  return fmt::format("{}, {}{}", change_text(ratio), verdict,
                     disagreement_text(ratio, median_cost(rows[*row.baseline]), median_cost(row)));
}

std::vector<ExperimentView> load_views(Store& store, const std::vector<PublishedRow>& published) {
  const std::vector<StoredNoiseFloor> floors = store.noise_floors();
  std::vector<ExperimentView> views;
  for (const StoredExperiment& experiment : store.experiments()) {
    ExperimentView view;
    view.experiment = experiment;
    view.points = store.points(experiment.id);
    view.notes = store.notes(experiment.id);
    view.rows = rows_of(store, view.points, experiment.reference_section, published);
    view.begun_utc = begun_utc(store, view);
    view.floor = floor_beforehand(floors, view);
    compare_rows(view);
    views.push_back(std::move(view));
  }
  std::stable_sort(views.begin(), views.end(), [](const ExperimentView& a, const ExperimentView& b) {
    return a.experiment.created_utc < b.experiment.created_utc;
  });
  return views;
}

Series series_of(const Measured& measured) {
  Series series{measured.rounds, {}, measured.hosts};
  for (const double tflops : measured.tflops) series.costs.push_back(1 / tflops);
  return series;
}

bool identical_records(const StoredJson& a, const StoredJson& b) {
  const StoredJson plan = at_or_null(a, "/hash/plan");
  if (plan.is_null() || plan != at_or_null(b, "/hash/plan")) return false;
  // Equal plans on equal layouts by one build are equal work, so a difference could only be noise.
  for (const char* same : {"/path", "/layout", "/timed_region", "/env/build", "/env/kernel", "/env/cpu"})
    if (at_or_null(a, same) != at_or_null(b, same)) return false;
  return computed_config(a) == computed_config(b);
}

Verdict verdict_of(const StoredJson& record_a, const StoredJson& record_b, const Ratio& ratio,
                   std::optional<double> floor) {
  return identical_records(record_a, record_b) ? Verdict::identical : judge(ratio, floor);
}

std::string machine_name(const StoredJson& env) {
  const auto text = [&](const char* key) {
    const auto found = env.is_object() ? env.find(key) : env.end();
    if (found == env.end()) return std::string("?");
    return found->is_string() ? found->get<std::string>() : json_text(*found);
  };
  return fmt::format("{}, {} cores, {}", text("cpu"), text("cores"), text("kernel"));
}

std::string machine_words(const std::string& name) {
  const std::string before = ", ";
  const size_t comma = name.rfind(before);
  if (comma == std::string::npos) return name;
  const size_t target = comma + before.size();
  return name.substr(0, target) + instruction_words(name.substr(target));
}

bool is_floor_together(const StoredNoiseFloor& floor) { return part_of<bool>(floor.json, "together"); }

std::optional<double> floor_of(const std::vector<StoredNoiseFloor>& floors, const StoredJson& env,
                               int64_t rounds, bool together) {
  const std::string machine = machine_name(env);
  // The newest floor of this machine counts. It is computed anew for `rounds`, since fewer rounds have more
  // noise.
  for (auto floor = floors.rbegin(); floor != floors.rend(); ++floor) {
    if (floor->machine != machine || is_floor_together(*floor) != together) continue;
    const std::vector<double> a = times_at(floor->json, "a"), b = times_at(floor->json, "b");
    const bool has_samples = a.size() == b.size() && static_cast<int64_t>(a.size()) >= kFewRounds;
    return rounds > 0 && has_samples ? noise_floor(a, b, rounds, 0) : floor->floor;
  }
  if (together) return floor_of(floors, env, rounds, false);
  return std::nullopt;
}

}  // namespace moehill
