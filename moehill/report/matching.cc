#include "moehill/report/matching.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "moehill/base/error.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

StoredJson config_of(const ComparedResult& result) {
  StoredJson config = result.record.value("config", StoredJson::object());
  if (result.record.contains("path")) config["path"] = result.record["path"];
  return config;
}

std::string label_of(const StoredJson& record) {
  const StoredJson config = record.value("config", StoredJson::object());
  std::vector<std::string> parts;
  for (const char* key : {"impl", "backend", "distribution", "topk", "parallel_mode", "ep_path"}) {
    if (config.contains(key) && !config[key].is_null()) parts.push_back(value_text(config[key]));
  }
  return fmt::format("{}", fmt::join(parts, "/"));
}

// Cost a sample: seconds for 1e12 FLOPs. tflops is that of the median.
Series series_of_samples(const StoredJson& record) {
  const auto tflops = number_at(record, "/tflops"), median = number_at(record, "/time_s/median");
  Series series;
  if (!tflops || !median || *tflops <= 0 || *median <= 0) return series;
  for (const StoredJson& sample : record["time_s"].value("samples", StoredJson::array())) {
    series.rounds.push_back(static_cast<int64_t>(series.rounds.size()));
    series.costs.push_back(sample.get<double>() / (*tflops * *median));
  }
  return series;
}

std::vector<StoredJson> read_lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<StoredJson> records;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    StoredJson record = StoredJson::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("config"))
      throw input_error("moehill compare", fmt::format("line {} of {}", records.size() + 1, path),
                        "a record a line, as --json writes it", "name a file of records or a database");
    records.push_back(std::move(record));
  }
  return records;
}

// Records of equal options in one file are rounds of one point.
ResultSet read_record_file(const std::string& path) {
  ResultSet set{path, path, {}, {}};
  std::vector<std::vector<StoredRecord>> groups;
  for (const StoredJson& record : read_lines(path)) {
    const auto same = [&](const std::vector<StoredRecord>& group) {
      return group[0].json["config"] == record["config"] &&
             group[0].json.value("path", StoredJson()) == record.value("path", StoredJson());
    };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) group = groups.insert(groups.end(), std::vector<StoredRecord>{});
    StoredRecord stored;
    stored.round = static_cast<int64_t>(group->size());
    stored.json = record;
    group->push_back(stored);
  }
  for (const std::vector<StoredRecord>& group : groups) {
    const StoredJson& first = group[0].json;
    const Series series = group.size() == 1 ? series_of_samples(first) : series_of(measure(group)[0]);
    set.results.push_back({label_of(first), first, series});
  }
  return set;
}

ResultSet read_database(const std::string& path, const std::string& experiment, const std::string& point) {
  Store store = Store::open_existing(path);
  ResultSet set{path, path + ":" + experiment, {}, store.noise_floors()};
  for (const ExperimentView& view : load_views(store, {})) {
    if (!experiment.empty() && view.experiment.name != experiment) continue;
    for (const ResultRow& row : view.rows) {
      if (!row.measured || (!point.empty() && view.points[row.point].label != point)) continue;
      set.results.push_back({view.label(row), row.measured->first, series_of(*row.measured)});
    }
  }
  return set;
}

bool is_database(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char head[16] = {};
  return file.read(head, 15) && std::string(head) == "SQLite format 3";
}

// Values of an option over a set.
std::set<std::string> values_of(const ResultSet& set, const std::string& key) {
  std::set<std::string> values;
  for (const ComparedResult& result : set.results) {
    const StoredJson config = config_of(result);
    values.insert(config.contains(key) ? json_text(config[key]) : "");
  }
  return values;
}

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
    if (of_a.size() == 1 && of_b.size() == 1 && of_a != of_b) differing.push_back(key);
  }
  return differing;
}

bool fits(const ComparedResult& a, const ComparedResult& b, const std::vector<std::string>& differing) {
  StoredJson config_a = config_of(a), config_b = config_of(b);
  for (const std::string& key : differing) {
    config_a.erase(key);
    config_b.erase(key);
  }
  return nlohmann::json(config_a) == nlohmann::json(config_b);
}

MatchedPair compare_pair(const ResultSet& set_a, const ComparedResult& a, const ResultSet& set_b,
                         const ComparedResult& b) {
  MatchedPair pair{a.label, b.label, {}, {}, ""};
  pair.speed = compare_speed(a.series, b.series, set_a.origin == set_b.origin, 0);
  const StoredJson env = a.record.value("env", StoredJson::object());
  pair.floor = floor_of(set_a.floors, env, pair.speed.ratio.n);
  if (!pair.floor) pair.floor = floor_of(set_b.floors, env, pair.speed.ratio.n);
  const bool one_run = set_a.origin == set_b.origin;
  pair.verdict = one_run ? verdict_text(a.record, b.record, pair.speed.ratio, pair.floor)
                         : name_of(judge(pair.speed.ratio, pair.floor));
  return pair;
}

}  // namespace

ResultSet read_results(const std::string& source) {
  const size_t colon = source.rfind(':');
  const bool whole = std::filesystem::exists(source) || colon == std::string::npos;
  const std::string path = whole ? source : source.substr(0, colon);
  std::string experiment = whole ? "" : source.substr(colon + 1), point;
  if (const size_t slash = experiment.find('/'); slash != std::string::npos) {
    point = experiment.substr(slash + 1);
    experiment.resize(slash);
  }
  if (!std::filesystem::is_regular_file(path))
    throw input_error("moehill compare",
                      path + (std::filesystem::exists(path) ? " (not a file)" : " (no such file)"),
                      "a file of records or a database", "name one that bench --json or sweep has written");
  const ResultSet set = is_database(path) ? read_database(path, experiment, point) : read_record_file(path);
  if (set.results.empty())
    throw input_error("moehill compare", source + ", which has no results", "a set with at least one",
                      "look at moehill report --format markdown");
  return set;
}

Matching match_results(const ResultSet& a, const ResultSet& b) {
  Matching matching;
  matching.differing = differing_options(a, b);
  std::vector<bool> used(b.results.size());
  for (const ComparedResult& result : a.results) {
    size_t i = 0;
    while (i < b.results.size() && (used[i] || !fits(result, b.results[i], matching.differing))) ++i;
    const bool found = i < b.results.size();
    if (found) used[i] = true;
    if (found && !result.series.costs.empty() && !b.results[i].series.costs.empty()) {
      matching.pairs.push_back(compare_pair(a, result, b, b.results[i]));
    } else if (!result.series.costs.empty()) {
      matching.only_a.push_back(result.label);
    }
  }
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) matching.only_b.push_back(b.results[i].label);
  }
  return matching;
}

StoredJson pair_json(const MatchedPair& pair) {
  return {{"a", pair.label_a},
          {"b", pair.label_b},
          {"ratio", pair.speed.ratio.ratio},
          {"ci_lo", pair.speed.ratio.ci_lo},
          {"ci_hi", pair.speed.ratio.ci_hi},
          {"n", pair.speed.ratio.n},
          {"paired", pair.speed.paired},
          {"noise_floor", pair.floor ? StoredJson(*pair.floor) : StoredJson(nullptr)},
          {"verdict", pair.verdict}};
}

std::string matching_table(const Matching& matching) {
  std::string text = matching.differing.empty()
                         ? std::string("no option tells A and B apart\n")
                         : fmt::format("A and B differ in {}\n", fmt::join(matching.differing, ", "));
  for (const MatchedPair& pair : matching.pairs) {
    const std::string names =
        pair.label_a == pair.label_b ? pair.label_a : fmt::format("{} -> {}", pair.label_a, pair.label_b);
    text += fmt::format("{:<44} {:>26}  {}{}\n", names, change_text(pair.speed.ratio), pair.verdict,
                        pair.speed.paired ? "" : " (not interleaved)");
  }
  for (const std::string& label : matching.only_a) text += fmt::format("only A has a figure: {}\n", label);
  for (const std::string& label : matching.only_b) text += fmt::format("only in B: {}\n", label);
  if (matching.pairs.front().floor)
    text += fmt::format("noise floor of this machine over {} rounds: {:.2f} %\n",
                        matching.pairs.front().speed.ratio.n, 100 * *matching.pairs.front().floor);
  return text;
}

std::vector<std::string> regressions(const Matching& matching, double tolerance) {
  std::vector<std::string> lines;
  for (const MatchedPair& pair : matching.pairs) {
    if (pair.verdict == "slower" && pair.speed.ratio.ratio < 1 - tolerance)
      lines.push_back(fmt::format("{}: {}", pair.label_b, change_text(pair.speed.ratio)));
  }
  for (const std::string& label : matching.only_a) lines.push_back(label + ": no figure in B");
  return lines;
}

}  // namespace moehill
