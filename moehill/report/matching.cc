// Implementation of report/matching.h: reading the two sides, pairing their results, and comparing each pair.
#include "moehill/report/matching.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/record/record.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

constexpr const char* kUnchecked = "its check is off";

// Returns the options of a result, with the path of profile as one of them.
StoredJson config_of(const ComparedResult& result) {
  StoredJson config = result.record.value("config", StoredJson::object());
  if (!config.is_object()) config = StoredJson::object();  // a database may hold anything here
  if (result.record.contains("path")) config["path"] = result.record["path"];
  return config;
}

// Returns the cost of each sample, in seconds for 1e12 FLOPs; nothing if a sample is no time. `tflops`
// belongs to the median, and the other samples follow in proportion. Without a passed check there is no
// figure.
std::vector<double> costs_of(const StoredJson& record) {
  const Figure tflops = tflops_of(record);
  const auto times = part_of<RecordedTimes>(record, "time_s");
  std::vector<double> costs;
  if (!tflops || !times.median || *tflops <= 0 || *times.median <= 0) return costs;
  for (const double sample : times.samples) {
    if (!(sample > 0)) return {};
    costs.push_back(sample / (*tflops * *times.median));
  }
  return costs;
}

// Returns the cost of a step at the peak that was measured beside the record's.
std::optional<double> peak_cost_of(const StoredJson& record) {
  const Figure tflops = tflops_of(record), share = part_of<RecordedPeak>(record, "peak").fraction;
  if (!tflops || !share || !(*share > 0)) return std::nullopt;
  return *share / *tflops;
}

// Returns the text at a JSON pointer; "" if there is none.
std::string text_at(const StoredJson& record, const char* pointer) {
  const StoredJson::json_pointer where(pointer);
  return record.contains(where) && record.at(where).is_string() ? record.at(where).get<std::string>() : "";
}

// Returns why a record has no figure: it has no passed check, or it was not timed.
std::string why_no_figure(const StoredJson& record) {
  const auto check = check_status_of(record);
  if (!check) return "it has no check";
  return *check == CheckStatus::passed ? "it was not timed" : fmt::format("its check is {}", name_of(*check));
}

// Throws InputError for a record that has a throughput although it is no result. No command writes one.
void refuse_contradiction(const StoredJson& record, const std::string& place, const InputFile& source) {
  if (!part_of<Figure>(record, "tflops")) return;
  if (is_ablated(record))
    throw input_error(place, "an ablated step's record with a throughput, which it cannot have",
                      source.allowed, "measure again, without --ablate");
  const auto check = check_status_of(record);
  if (check && *check != CheckStatus::passed)
    throw input_error(
        place, fmt::format("a record with a throughput, which it cannot have: {}", why_no_figure(record)),
        source.allowed, "measure again, with --check sample or full");
}

// These members of a record's env say on which machine and by which build it was measured.
constexpr const char* kEnvironment[] = {"cpu", "cores", "host", "kernel", "build"};
// This one is the SIMD target, under a name that only programs read.
constexpr std::string_view kTarget = "kernel";
// These members tell machines apart. The host is not one of them, because runners of CI and containers have a
// new name each time.
constexpr const char* kMachine[] = {"cpu", "cores"};

// Adds the environment of a record to that of a result. A value that a record does not give is not known, and
// agrees with any other value.
void add_environment(ComparedResult& result, const StoredJson& record) {
  for (const char* name : kEnvironment) {
    const StoredJson value = at_or_null(record, std::string("/env/") + name);
    if (!value.is_null()) result.environment[name].insert(printable(value_text(value)));
  }
}

// Returns the names of the environment that have several values in these two results together.
std::vector<std::string> unlike_names(const ComparedResult& a, const ComparedResult& b) {
  std::vector<std::string> names;
  for (const char* name : kEnvironment) {
    std::set<std::string> values;
    for (const ComparedResult* result : {&a, &b}) {
      const auto found = result->environment.find(name);
      if (found != result->environment.end()) values.insert(found->second.begin(), found->second.end());
    }
    if (values.size() > 1) names.push_back(name);
  }
  return names;
}

// Returns the hashes that say whether two records of equal options did the same work: a trace's file or a
// model's may have been replaced. null: not known.
std::vector<std::pair<std::string, StoredJson>> work_hashes(const StoredJson& record) {
  return {{"plan", at_or_null(record, "/hash/plan")}, {"weights", at_or_null(record, "/hash/weights")}};
}

// Returns the names of the hashes in which two results of equal options differ. Results of other options
// differ in their plans anyway.
std::vector<std::string> unlike_work(const ComparedResult& a, const ComparedResult& b) {
  std::vector<std::string> names;
  if (nlohmann::json(config_of(a)) != nlohmann::json(config_of(b))) return names;
  const auto of_a = work_hashes(a.record), of_b = work_hashes(b.record);
  for (size_t i = 0; i < of_a.size(); ++i) {
    const StoredJson &one = of_a[i].second, &other = of_b[i].second;
    if (!one.is_null() && !other.is_null() && one != other) names.push_back(of_a[i].first);
  }
  return names;
}

std::string environment_text(const ResultSet& set, const std::string& name) {
  const std::set<std::string> values = environment_values(set, name);
  return values.empty() ? "none" : fmt::format("{}", fmt::join(values, " and "));
}

// Each record is compared with all processes before, so that many more would take hours. A sweep has as many
// rounds at most.
constexpr size_t kMostProcesses = 10000;

// Adds what `record` says to the process that measured it.
void add_process(ComparedResult& result, const std::string& id, int64_t round, const StoredJson& record) {
  const std::vector<double> costs = costs_of(record);
  if (costs.empty()) {
    result.why_missing = why_no_figure(record);
    return;
  }
  // The result's record is one with a figure, if there is one: its share of the peak and its plan count.
  if (result.processes.empty()) result.record = record;
  add_environment(result, record);
  const auto same = [&](const ComparedProcess& process) { return process.id == id; };
  auto process = std::find_if(result.processes.begin(), result.processes.end(), same);
  if (process == result.processes.end()) {
    if (result.processes.size() == kMostProcesses)
      throw input_error("compare", fmt::format("more than {} processes of one result", kMostProcesses),
                        fmt::format("at most {}", kMostProcesses), "take the records of fewer runs");
    const auto measured_by = part_of<std::optional<RecordedProcess>>(record, "process");
    result.processes.push_back({id,
                                measured_by ? Figure(measured_by->started_s) : Figure(),
                                round,
                                measuring_host(record),
                                {},
                                peak_cost_of(record)});
    process = result.processes.end() - 1;
  }
  process->samples.insert(process->samples.end(), costs.begin(), costs.end());
}

// Reads records of --json, one in each line. Throws InputError, with the line, for anything else.
std::vector<StoredJson> read_lines(const std::string& path) {
  const InputFile source{"compare", path, "a record a line, as --json writes it",
                         "name a file of records or a database"};
  std::ifstream file = open_input_file(source);
  std::vector<StoredJson> records;
  int number = 0;
  for (std::string line; read_input_line(file, line, source);) {
    ++number;
    if (line.empty()) continue;
    const std::string place = fmt::format("compare: line {} of {}", number, quoted(path, 200));
    auto record = parse_strict_json<StoredJson>(line, {place, source.remedy});
    const auto config = record.find("config");
    if (config == record.end() || !config->is_object())
      throw input_error(place, "a record without config", source.allowed, source.remedy);
    refuse_contradiction(record, place, source);
    records.push_back(std::move(record));
  }
  return records;
}

// Older records do not name their process. They count as one process if they began in the same second.
std::string process_of(const StoredJson& record) {
  const std::string id = text_at(record, "/process/id");
  return id.empty() ? text_at(record, "/time_utc") : id;
}

// Names the results so that no two have one name.
void label_apart(std::vector<ComparedResult>& results) {
  std::vector<StoredJson> records;
  for (const ComparedResult& result : results) records.push_back(result.record);
  const std::vector<std::string> labels = distinct_labels(records);
  for (size_t i = 0; i < results.size(); ++i) results[i].label = labels[i];
}

// Each result is compared with all others, so that many more would take hours.
constexpr size_t kMostResults = 2048;

InputError too_many_results(const std::string& path) {
  return input_error("compare", fmt::format("more than {} results in {}", kMostResults, quoted(path, 200)),
                     fmt::format("at most {} points with options of their own", kMostResults),
                     "split the file, or take the records of one run");
}

// Reads files of records. Records of equal options and equal work belong to one result, whichever file they
// are in.
ResultSet read_record_files(const std::string& source, const std::vector<std::string>& paths) {
  ResultSet set;
  set.source = source;
  std::set<std::string> seen;
  std::vector<std::pair<StoredJson, StoredJson>> kinds;  // the subject and the path of each result
  for (const std::string& path : paths) {
    for (const StoredJson& record : read_lines(path)) {
      if (is_ablated(record)) {
        ++set.num_ablated;
        continue;
      }
      // A record that is in two files counts once.
      if (!seen.insert(json_text(record)).second) {
        ++set.num_repeated;
        continue;
      }
      const std::pair kind(subject_of(record), record.value("path", StoredJson()));
      const auto known = std::find(kinds.begin(), kinds.end(), kind);
      const size_t i = static_cast<size_t>(known - kinds.begin());
      if (known == kinds.end()) {
        if (kinds.size() == kMostResults) throw too_many_results(path);
        kinds.push_back(kind);
        set.results.push_back({"", record, {}, ""});
      }
      add_process(set.results[i], process_of(record), 0, record);
    }
  }
  label_apart(set.results);
  return set;
}

// Reads results of a database: all results, the results of one experiment, or one point.
ResultSet read_database(const std::string& path, const std::string& experiment, const std::string& point) {
  Store store = Store::open_existing(path);
  ResultSet set{path, path + ":" + experiment, {}, store.noise_floors()};
  const std::vector<ExperimentView> views = load_views(store, {});
  for (const ExperimentView& view : views) {
    if (!experiment.empty() && view.experiment.name != experiment) continue;
    for (const ResultRow& row : view.rows) {
      const StoredPoint& stored = view.points[row.point];
      if (!row.measured || (!point.empty() && stored.label != point)) continue;
      // Experiments of one database may have points of one name.
      const bool is_one_of_several = experiment.empty() && views.size() > 1;
      ComparedResult result{(is_one_of_several ? view.experiment.name + ": " : "") + view.label(row),
                            row.measured->first,
                            {},
                            {}};
      const StoredJson subject = subject_of(row.measured->first);
      for (const StoredRecord& record : store.records(stored.id)) {
        if (is_ablated(record.json)) {
          ++set.num_ablated;
          continue;
        }
        const std::string id = text_at(record.json, "/process/id");
        // A point may have records of several paths or subjects; only those of this row belong to the row.
        if (part_of<ProfilePath>(record.json, "path") == row.measured->path &&
            subject_of(record.json) == subject)
          add_process(result, id.empty() ? fmt::format("{} {}", path, record.attempt_id) : id, record.round,
                      record.json);
      }
      set.results.push_back(result);
    }
  }
  return set;
}

// Returns the values of an option in a set.
std::set<std::string> values_of(const ResultSet& set, const std::string& key) {
  std::set<std::string> values;
  for (const ComparedResult& result : set.results) {
    const StoredJson config = config_of(result);
    values.insert(config.contains(key) ? json_text(config[key]) : "");
  }
  return values;
}

// Returns the options that tell the two sides apart.
std::vector<std::string> differing_options(const ResultSet& a, const ResultSet& b) {
  std::set<std::string> keys;
  for (const ResultSet* set : {&a, &b}) {
    for (const ComparedResult& result : set->results) {
      const StoredJson config = config_of(result);
      for (const auto& [key, value] : config.items()) keys.insert(key);
    }
  }
  std::vector<std::string> differing;
  for (const std::string& key : keys) {
    const std::set<std::string> of_a = values_of(a, key), of_b = values_of(b, key);
    // An option with one value on each side tells the sides apart. An axis, with several values, has to agree
    // in each pair.
    if (of_a.size() == 1 && of_b.size() == 1 && of_a != of_b) differing.push_back(key);
  }
  return differing;
}

// Returns true if the two results have equal options, except for those that tell the sides apart.
bool fits(const ComparedResult& a, const ComparedResult& b, const std::vector<std::string>& differing) {
  StoredJson config_a = config_of(a), config_b = config_of(b);
  for (const std::string& key : differing) {
    config_a.erase(key);
    config_b.erase(key);
  }
  return nlohmann::json(config_a) == nlohmann::json(config_b);
}

// Returns for each result of `a` its partner in `b`: the first free one that fits. Partners of equal work are
// found first, for all results, so that no result takes the partner that does the work of another result.
std::vector<std::optional<size_t>> partners_in(const ResultSet& b, const ResultSet& a,
                                               const std::vector<std::string>& differing) {
  std::vector<std::optional<size_t>> partners(a.results.size());
  std::vector<bool> used(b.results.size());
  for (const bool of_equal_work : {true, false}) {
    for (size_t r = 0; r < a.results.size(); ++r) {
      for (size_t i = 0; i < b.results.size() && !partners[r]; ++i) {
        const ComparedResult &one = a.results[r], &other = b.results[i];
        if (used[i] || !fits(one, other, differing)) continue;
        if (of_equal_work && work_hashes(one.record) != work_hashes(other.record)) continue;
        partners[r] = i;
        used[i] = true;
      }
    }
  }
  return partners;
}

double median_cost(const ComparedProcess& process) { return median_of(process.samples); }

// Returns the median cost of each process with its round, to pair two results by round.
Series by_round(const ComparedResult& result) {
  Series series;
  for (const ComparedProcess& process : result.processes) {
    series.rounds.push_back(process.round);
    series.costs.push_back(median_cost(process));
    series.hosts.push_back(process.host);
  }
  return series;
}

bool has_process(const ComparedResult& result, const std::string& id) {
  return std::any_of(result.processes.begin(), result.processes.end(),
                     [&](const ComparedProcess& process) { return process.id == id; });
}

// Returns true if the same processes measured both results, which they then interleaved.
bool same_processes(const ComparedResult& a, const ComparedResult& b) {
  const auto in_b = [&](const ComparedProcess& process) { return has_process(b, process.id); };
  return a.processes.size() == b.processes.size() &&
         std::all_of(a.processes.begin(), a.processes.end(), in_b);
}

// Compares two results that the same processes measured, process by process.
Ratio ratio_by_process(const ComparedResult& a, const ComparedResult& b) {
  std::vector<double> of_a, of_b;
  for (const ComparedProcess& process : a.processes) {
    const auto same = std::find_if(b.processes.begin(), b.processes.end(),
                                   [&](const ComparedProcess& other) { return other.id == process.id; });
    // A single process with equally many samples on both sides is compared sample by sample. Several
    // processes are compared by their medians.
    const bool by_sample = a.processes.size() == 1 && process.samples.size() == same->samples.size();
    if (by_sample) return speed_ratio(process.samples, same->samples, 0);
    of_a.push_back(median_cost(process));
    of_b.push_back(median_cost(*same));
  }
  return speed_ratio(of_a, of_b, 0);
}

// Returns the processes of `result` that are not in `other`: such a process would be compared with itself.
std::vector<ProcessCost> without_those_of(const ComparedResult& result, const ComparedResult& other) {
  std::vector<ProcessCost> costs;
  for (const ComparedProcess& process : result.processes) {
    if (!has_process(other, process.id)) costs.push_back({median_cost(process), process.started_s});
  }
  return costs;
}

Ratio ratio_of_pair(const ResultSet& set_a, const ComparedResult& a, const ResultSet& set_b,
                    const ComparedResult& b) {
  // There are three ways, from the most to the least exact: by round of one experiment, by process that
  // measured both, and as separate processes.
  const bool one_experiment = !set_a.experiment.empty() && set_a.experiment == set_b.experiment;
  if (one_experiment) return compare_speed(by_round(a), by_round(b), 0);
  if (same_processes(a, b)) return ratio_by_process(a, b);
  const std::vector<ProcessCost> of_a = without_those_of(a, b), of_b = without_those_of(b, a);
  return of_a.empty() || of_b.empty() ? Ratio{1, 0, {}, false} : compare_processes(of_a, of_b);
}

MatchedPair compare_pair(const ResultSet& set_a, const ComparedResult& a, const ResultSet& set_b,
                         const ComparedResult& b) {
  MatchedPair pair{a.label, b.label, ratio_of_pair(set_a, a, set_b, b), {}, {}};
  const StoredJson env = a.record.value("env", StoredJson::object());
  // The noise floor must come from this machine; either side may know it.
  const bool together = same_processes(a, b);
  pair.floor = floor_of(set_a.floors, env, pair.ratio.n, together);
  if (!pair.floor) pair.floor = floor_of(set_b.floors, env, pair.ratio.n, together);
  // Records can be identical runs only if they were measured in turn. Other pairs are judged by their
  // figures.
  pair.verdict = pair.ratio.paired ? verdict_of(a.record, b.record, pair.ratio, pair.floor)
                                   : judge(pair.ratio, pair.floor);
  pair.unlike = unlike_names(a, b);
  for (const std::string& name : unlike_work(a, b)) pair.unlike.push_back(name);
  pair.repro = part_of<Words>(b.record, "repro").value_or("");
  return pair;
}

// Says for each name in which a pair is unlike what the two sets have.
std::vector<std::string> unlike_lines(const ResultSet& a, const ResultSet& b,
                                      const std::vector<MatchedPair>& pairs) {
  std::vector<std::string> lines;
  for (const char* name : kEnvironment) {
    const auto is_unlike = [&](const MatchedPair& pair) {
      return std::find(pair.unlike.begin(), pair.unlike.end(), name) != pair.unlike.end();
    };
    if (std::any_of(pairs.begin(), pairs.end(), is_unlike))
      lines.push_back(fmt::format("{}: A has {}; B has {}", environment_word(name), environment_text(a, name),
                                  environment_text(b, name)));
  }
  return lines;
}

InputError bad_source(const std::string& got, const std::string& remedy) {
  return input_error("compare", got,
                     "files of records with a comma between them, DATABASE, DATABASE:EXPERIMENT or "
                     "DATABASE:EXPERIMENT/POINT",
                     remedy);
}

void require_file(const std::string& path, const std::string& source) {
  if (path.empty()) throw bad_source(quoted(source), "name a file on each side of a comma");
  open_input_file({"compare", path, "a file of records or a database",
                   "name one that bench --json or sweep has written"});
}

// Returns the path in a source, without :EXPERIMENT/POINT. The name of a file may have a colon itself.
std::string path_of(const std::string& source) {
  return is_there(source) ? source : source.substr(0, source.rfind(':'));
}

std::vector<std::string> files_of(const std::string& path) {
  return is_there(path) ? std::vector<std::string>{path} : split(path, ',');
}

}  // namespace

std::set<std::string> environment_values(const ResultSet& set, const std::string& name) {
  std::set<std::string> values;
  for (const ComparedResult& result : set.results) {
    const auto found = result.environment.find(name);
    if (found == result.environment.end()) continue;
    for (const std::string& value : found->second)
      values.insert(name == kTarget ? instruction_words(value) : value);
  }
  return values;
}

std::string environment_word(const std::string& name) { return name == kTarget ? "SIMD target" : name; }

bool is_database(const std::string& path) {
  if (!is_plain_file(path)) return false;  // to open a pipe would wait for its writer
  std::ifstream file(path, std::ios::binary);
  char head[16] = {};
  return file.read(head, 15) && std::string(head) == "SQLite format 3";
}

std::string record_label(const StoredJson& record) {
  const StoredJson config = record.value("config", StoredJson::object());
  std::vector<std::string> parts;
  for (const char* key : {"impl", "backend", "distribution", "topk", "parallel_mode", "ep_path"}) {
    if (config.contains(key) && !config[key].is_null()) parts.push_back(value_text(config[key]));
  }
  return fmt::format("{}", fmt::join(parts, "/"));
}

std::vector<std::string> distinct_labels(const std::vector<StoredJson>& records) {
  std::vector<std::string> labels;
  std::vector<StoredJson> subjects;
  for (const StoredJson& record : records) {
    labels.push_back(record_label(record));
    subjects.push_back(subject_of(record));
    if (record.contains("path")) subjects.back()["path"] = record["path"];
  }
  return told_apart(labels, subjects);
}

void refuse_source_as_output(const std::vector<std::string>& sources, const std::string& option,
                             const std::string& output) {
  std::vector<NamedPath> paths = {{option, output, true}};
  for (const std::string& source : sources) {
    for (const std::string& file : files_of(path_of(source))) paths.push_back({"results", file});
  }
  require_distinct_outputs(paths);
}

ResultSet read_results(const std::string& source) {
  const std::string path = path_of(source);
  const size_t colon = path.size();
  const bool whole = colon == source.size();
  std::string experiment = whole ? "" : source.substr(colon + 1), point;
  if (const size_t slash = experiment.find('/'); slash != std::string::npos) {
    point = experiment.substr(slash + 1);
    experiment.resize(slash);
  }
  const std::vector<std::string> files = files_of(path);
  for (const std::string& file : files) require_file(file, source);
  const bool database = files.size() == 1 && is_database(path);
  if (!whole && !database)
    throw bad_source(quoted(source), "leave " + quoted(source.substr(colon)) + " out, behind records");
  if (!whole && (experiment.empty() || source.back() == '/'))
    throw bad_source(quoted(source), "name an experiment or point, or leave the : or / out");
  const ResultSet set = database ? read_database(path, experiment, point) : read_record_files(source, files);
  if (set.results.empty())
    throw input_error("compare", quoted(source, 200) + ", which has no results", "a set with at least one",
                      "look at moehill report --format markdown");
  return set;
}

Matching match_results(const ResultSet& a, const ResultSet& b) {
  Matching matching;
  matching.differing = differing_options(a, b);
  const std::vector<std::optional<size_t>> partners = partners_in(b, a, matching.differing);
  std::vector<bool> used(b.results.size());
  for (size_t r = 0; r < a.results.size(); ++r) {
    const ComparedResult& result = a.results[r];
    if (!partners[r]) {
      if (!result.processes.empty()) matching.only_a.push_back(result.label);
      continue;
    }
    used[*partners[r]] = true;
    const ComparedResult& other = b.results[*partners[r]];
    if (!result.processes.empty() && !other.processes.empty())
      matching.pairs.push_back(compare_pair(a, result, b, other));
    // A result without figures is not dropped silently: a gate must know what it could not judge.
    if (result.processes.empty()) {
      matching.missing.push_back({result.label, result.why_missing, true, result.why_missing == kUnchecked});
    } else if (!other.why_missing.empty()) {
      matching.missing.push_back({other.label, other.why_missing, false, other.why_missing == kUnchecked});
    }
  }
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) matching.only_b.push_back(b.results[i].label);
  }
  matching.unlike = unlike_lines(a, b, matching.pairs);
  return matching;
}

bool MatchedPair::of_several_machines() const {
  return !ratio.paired && std::any_of(std::begin(kMachine), std::end(kMachine), [&](const char* name) {
    return std::find(unlike.begin(), unlike.end(), name) != unlike.end();
  });
}

}  // namespace moehill
