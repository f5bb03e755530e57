// Implementation of report/exports.h for the formats of Google Benchmark and JUnit. The programs that read
// them expect every field, so a field for which there is no value gets a neutral one. CSV, JSON lines and
// Markdown are in exports.cc.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "moehill/record/record.h"
#include "moehill/report/exports.h"
#include "moehill/report/hypotheses.h"
#include "moehill/report/markdown.h"

namespace moehill {
namespace {

// Returns the value of all records that have it; null if they do not agree, since the format has a single
// machine and none may pass for that of the others.
StoredJson env_value(const std::vector<ExperimentView>& views, const char* key) {
  StoredJson common;
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      const StoredJson value =
          row.measured ? at_or_null(row.measured->first, std::string("/env/") + key) : StoredJson();
      if (!common.is_null() && !value.is_null() && value != common) return nullptr;
      if (!value.is_null()) common = value;
    }
  }
  return common;
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

// Returns one cache for each level. num_sharing is the number of cores that share a cache; it is known only
// for the last level.
StoredJson google_caches(const StoredJson& recorded, const StoredJson& cores) {
  const auto caches = part_from<RecordedEnvironment::Caches>(recorded);
  StoredJson list = StoredJson::array();
  const auto add = [&](const char* type, int level, int64_t bytes, int64_t sharing) {
    if (bytes > 0)
      list.push_back({{"type", type}, {"level", level}, {"size", bytes}, {"num_sharing", sharing}});
  };
  add("Data", 1, caches.l1d_bytes, 1);
  add("Unified", 2, caches.l2_bytes, 1);
  const int64_t num_cores = cores.is_number_integer() ? cores.get<int64_t>() : 1;
  add("Unified", 3, caches.l3_bytes, std::max<int64_t>(1, num_cores / std::max<int64_t>(1, caches.num_l3)));
  return list;
}

// Returns a name in that format, which has no blanks and writes arguments with a colon:
// "experiment/topk:2/ep".
std::string google_name(std::string name) {
  std::replace(name.begin(), name.end(), ' ', '/');
  std::replace(name.begin(), name.end(), '=', ':');
  return name;
}

StoredJson google_context(const std::vector<ExperimentView>& views) {
  const StoredJson cores = env_value(views, "cores"), load = env_value(views, "load_average"),
                   host = env_value(views, "host");
  return {{"date", views.empty() ? "" : views.back().experiment.created_utc},
          {"host_name", host.is_string() ? host : StoredJson("")},
          {"executable", "moehill"},
          {"num_cpus", cores.is_number() ? cores : StoredJson(0)},
          {"mhz_per_cpu", 0},
          {"cpu_scaling_enabled", false},
          {"caches", google_caches(env_value(views, "caches"), cores)},
          {"load_avg", load.is_number() ? StoredJson::array({load}) : StoredJson::array()},
          {"library_build_type", build_type(env_value(views, "build"))}};
}

StoredJson google_repetition(const ExperimentView& view, const ResultRow& row, size_t i, int64_t family) {
  const Measured& measured = *row.measured;
  const std::string name = google_name(fmt::format("{}/{}", view.experiment.name, view.label(row)));
  const double nanoseconds = measured.seconds[i] * 1e9;
  const StoredJson* layout = measured.first.contains("layout") ? &measured.first["layout"] : nullptr;
  // Without a CPU time the field has the real time.
  const Figure& cpu = measured.cpu_seconds[i];
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
          {"cpu_time", cpu ? *cpu * 1e9 : nanoseconds},
          {"time_unit", "ns"},
          {"label", view.repro(row)},
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

// Returns a property of a case; "" if there is no value.
std::string property(const std::string& name, const std::string& value) {
  return value.empty() ? "" : fmt::format("<property name=\"{}\" value=\"{}\"/>", name, xml_text(value));
}

// Returns the figures and the verdict of a row of the point. If there are several rows, the names begin with
// the path, or with the options in which the rows differ.
std::string row_properties(const ExperimentView& view, const ResultRow& row) {
  if (!row.timed()) return "";
  const std::string path = name_of(row.measured->path), apart = xml_text(difference_words(row.variant)),
                    both = path + (path.empty() || apart.empty() ? "" : " ") + apart,
                    prefix = both.empty() ? "" : both + ".";
  const Summary tflops = tflops_summary(*row.measured);
  return property(prefix + "ms", fmt::format("{:.6g}", 1e3 * median_of(row.measured->seconds))) +
         property(prefix + "gflops", fmt::format("{:.6g}{}", 1e3 * tflops.median,
                                                 interval_text(tflops.interval, "{:.6g}", 1e3))) +
         property(prefix + "tokens_per_s", fmt::format("{:.6g}", median_of(row.measured->tokens_per_s))) +
         property(prefix + "rounds", std::to_string(row.measured->rounds.size())) +
         property(prefix + "disturbed_rounds", std::to_string(row.measured->disturbed)) +
         (row.against ? property(prefix + "against_baseline", view.change(row)) +
                            property(prefix + "verdict", name_of(*row.verdict))
                      : "");
}

std::string junit_case(Store& store, const ExperimentView& view, size_t index, JunitCounts& counts) {
  const StoredPoint& point = view.points[index];
  const std::vector<StoredAttempt> attempts = store.attempts(point.id);
  double seconds = 0;
  for (const StoredAttempt& attempt : attempts) seconds += attempt.seconds;
  ++counts.tests;
  counts.seconds += seconds;
  std::string properties, outcome;
  for (const ResultRow& row : view.rows) {
    if (row.point == index) properties += row_properties(view, row);
  }
  properties += property("repro", repro_of(view.experiment, point));
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
  return fmt::format(
      "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"><properties>{}</properties>{}</testcase>\n",
      xml_text(view.experiment.name), xml_text(point.label), seconds, properties, outcome);
}

// ExpectationCase is the case of a pair that an expectation names, or of an expectation that names no pair.
struct ExpectationCase {
  std::string name, words;
  bool failed = false;
  std::string why_open;  // why it neither passes nor fails; empty: it does
};

std::vector<ExpectationCase> cases_of(const ExperimentView& view, const StatedExpectation& stated) {
  const JudgedExpectation judged = judge_expectation(view, stated.text);
  std::vector<ExpectationCase> cases;
  if (judged.pairs.empty()) {
    const char* why = judged.expectation ? "no pair of points with results" : "cannot be read";
    cases.push_back({stated.text, why, false, stated.counts ? "undecided" : kNamedLate});
  }
  for (const JudgedPair& pair : judged.pairs) {
    const std::string why = !stated.counts ? kNamedLate : pair.clear ? "" : "undecided";
    cases.push_back({fmt::format("{}: {} over {}", stated.text, view.label(view.rows[pair.over]),
                                 view.label(view.rows[pair.under])),
                     judged_text(view, pair), why.empty() && !pair.met, why});
  }
  return cases;
}

std::string expectation_cases(const ExperimentView& view, JunitCounts& counts) {
  std::string text;
  for (const StatedExpectation& stated : stated_expectations(view.experiment)) {
    for (const ExpectationCase& one : cases_of(view, stated)) {
      const std::string words = xml_text(one.words);
      ++counts.tests;
      std::string outcome;
      if (!one.why_open.empty()) {
        ++counts.skipped;
        outcome = fmt::format("<skipped message=\"{}: {}\"/>", one.why_open, words);
      } else if (one.failed) {
        ++counts.failures;
        outcome = fmt::format("<failure message=\"{}\"/>", words);
      }
      text += fmt::format(
          "    <testcase classname=\"{}\" name=\"{}\" time=\"0.000\">"
          "<properties><property name=\"verdict\" value=\"{}\"/></properties>{}</testcase>\n",
          xml_text(view.experiment.name), xml_text(one.name), words, outcome);
    }
  }
  return text;
}

}  // namespace

std::string export_google_benchmark(const std::vector<ExperimentView>& views) {
  StoredJson benchmarks = StoredJson::array();
  int64_t family = 0;
  for (const ExperimentView& view : views) {
    for (const ResultRow& row : view.rows) {
      if (!row.timed()) continue;
      for (size_t i = 0; i < row.measured->rounds.size(); ++i)
        benchmarks.push_back(google_repetition(view, row, i, family));
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
    for (size_t i = 0; i < view.points.size(); ++i) cases += junit_case(store, view, i, counts);
    cases += expectation_cases(view, counts);
    text += fmt::format(
        "  <testsuite name=\"{}\" timestamp=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" "
        "time=\"{:.3f}\">\n{}  </testsuite>\n",
        xml_text(view.experiment.title), xml_text(view.experiment.created_utc), counts.tests, counts.failures,
        counts.errors, counts.skipped, counts.seconds, cases);
  }
  return text + "</testsuites>\n";
}

}  // namespace moehill
