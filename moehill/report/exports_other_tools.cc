// Exports in the formats of Google Benchmark and JUnit. Both are read by other programs, which expect every
// field, so those without a value here have a neutral one. They have no room for intervals or verdicts.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "moehill/record/record.h"
#include "moehill/report/exports.h"
#include "moehill/report/markdown.h"

namespace moehill {
namespace {

// All records of a database usually come from one machine; the first that has the value speaks for it.
StoredJson env_value(const std::vector<ExperimentView>& views, const char* key) {
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (row.measured && row.measured->first.contains("env") && row.measured->first["env"].contains(key))
        return row.measured->first["env"][key];
    }
  }
  return nullptr;
}

// Returns the build type of "0.1.0 Release REVISION" in small letters, as the format has it.
StoredJson build_type(const StoredJson& build) {
  std::istringstream words(build.is_string() ? build.get<std::string>() : "");
  std::string version, type;
  words >> version >> type;
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return type.empty() ? "unknown" : type;
}

StoredJson google_context(const std::vector<ExperimentView>& views) {
  const StoredJson cores = env_value(views, "cores"), load = env_value(views, "load_average");
  return {{"date", views.empty() ? "" : views.back().experiment.created_utc},
          {"host_name", ""},
          {"executable", "moehill"},
          {"num_cpus", cores.is_number() ? cores : StoredJson(0)},
          {"mhz_per_cpu", 0},
          {"cpu_scaling_enabled", false},
          {"caches", StoredJson::array()},
          {"load_avg", load.is_number() ? StoredJson::array({load}) : StoredJson::array()},
          {"library_build_type", build_type(env_value(views, "build"))}};
}

// Returns one repetition of a benchmark: one round of a point.
StoredJson google_repetition(const std::string& name, const Measured& measured, size_t i, int64_t family) {
  const double nanoseconds = measured.seconds[i] * 1e9;
  const StoredJson* layout = measured.first.contains("layout") ? &measured.first["layout"] : nullptr;
  // CPU time is not measured apart, so it is the real time.
  return {{"name", name},
          {"family_index", family},
          {"per_family_instance_index", 0},
          {"run_name", name},
          {"run_type", "iteration"},
          {"repetitions", measured.rounds.size()},
          {"repetition_index", i},
          {"threads", layout != nullptr && layout->contains("cores") ? (*layout)["cores"] : StoredJson(1)},
          {"iterations", 1},
          {"real_time", nanoseconds},
          {"cpu_time", nanoseconds},
          {"time_unit", "ns"},
          {"items_per_second", measured.tokens_per_s[i]},
          {"tflops", measured.tflops[i]}};
}

// JunitCounts are the sums of one suite.
struct JunitCounts {
  int tests = 0, failures = 0, errors = 0, skipped = 0;
  double seconds = 0;
};

// Returns the reason of the first failed check of a point; "" if none failed.
std::string failed_check(Store& store, const StoredPoint& point) {
  for (const StoredRecord& record : store.records(point.id)) {
    if (check_status_of(record.json) != CheckStatus::failed) continue;
    return part_of<Words>(part_of<Json>(record.json, "check"), "reason").value_or("the check failed");
  }
  return "";
}

// Returns one test case: a failed check is a failure, a point that could not be run an error.
std::string junit_case(Store& store, const StoredExperiment& experiment, const StoredPoint& point,
                       JunitCounts& counts) {
  const std::vector<StoredAttempt> attempts = store.attempts(point.id);
  double seconds = 0;
  for (const StoredAttempt& attempt : attempts) seconds += attempt.seconds;
  ++counts.tests;
  counts.seconds += seconds;
  std::string outcome;
  const std::string check = failed_check(store, point),
                    tail = attempts.empty() ? "" : attempts.back().output_tail;
  if (!check.empty()) {
    ++counts.failures;
    outcome = fmt::format("<failure message=\"{}\"/>", xml_text(check));
  } else if (point.state == RunState::pending || point.state == RunState::running) {
    ++counts.skipped;
    outcome = fmt::format("<skipped message=\"{}\"/>", name_of(point.state));
  } else if (point.state != RunState::done) {
    ++counts.errors;
    outcome = fmt::format("<error message=\"{}\">{}</error>", name_of(point.state), xml_text(tail));
  }
  return fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\">{}</testcase>\n",
                     xml_text(experiment.name), xml_text(point.label), seconds, outcome);
}

}  // namespace

std::string export_google_benchmark(const std::vector<ExperimentView>& views) {
  StoredJson benchmarks = StoredJson::array();
  int64_t family = 0;
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (!row.timed()) continue;
      const std::string name = fmt::format("{}/{}", view.experiment.name, view.label(row));
      for (size_t i = 0; i < row.measured->rounds.size(); ++i)
        benchmarks.push_back(google_repetition(name, *row.measured, i, family));
      ++family;
    }
  }
  const StoredJson json = {{"context", google_context(views)}, {"benchmarks", benchmarks}};
  return json.dump(2, ' ', false, StoredJson::error_handler_t::replace) + "\n";
}

std::string export_junit(Store& store, const std::vector<ExperimentView>& views) {
  std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
  for (const ExperimentView& view : views) {
    JunitCounts counts;
    std::string cases;
    for (const StoredPoint& point : view.points) cases += junit_case(store, view.experiment, point, counts);
    text += fmt::format(
        "  <testsuite name=\"{}\" timestamp=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" "
        "time=\"{:.3f}\">\n{}  </testsuite>\n",
        xml_text(view.experiment.title), xml_text(view.experiment.created_utc), counts.tests, counts.failures,
        counts.errors, counts.skipped, counts.seconds, cases);
  }
  return text + "</testsuites>\n";
}

}  // namespace moehill
