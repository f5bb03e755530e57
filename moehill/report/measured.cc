// Implementation of report/measured.h.
#include "moehill/report/measured.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "moehill/record/record.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

std::optional<double> median_if_any(const std::vector<double>& values) {
  return values.empty() ? std::nullopt : std::optional(median_of(values));
}

ProfilePath path_of(const StoredJson& record) { return part_of<ProfilePath>(record, "path"); }

// Measures records of one path and subject.
Measured measure_alike(const std::vector<StoredRecord>& records) {
  Measured measured;
  measured.path = path_of(records.front().json);
  std::vector<double> peaks, rates;
  for (const StoredRecord& record : records) {
    if (measured.first.is_null()) measured.first = record.json;
    const auto peak = part_of<RecordedPeak>(record.json, "peak");
    if (peak.tflops_measured) peaks.push_back(*peak.tflops_measured);
    if (peak.read_gbps.median) rates.push_back(*peak.read_gbps.median);
    const auto times = part_of<RecordedTimes>(record.json, "time_s");
    const Figure seconds = times.median;
    const Figure tflops = tflops_of(record.json);
    // Other figures come only from a damaged database. Their logarithms would have no order.
    if (!seconds || !tflops || *tflops <= 0 || *seconds <= 0) continue;
    if (measured.rounds.empty()) measured.first = record.json;
    measured.rounds.push_back(record.round);
    measured.disturbed += record.disturbed ? 1 : 0;
    measured.hosts.push_back(measuring_host(record.json));
    const StoredJson process = at_or_null(record.json, "/process/id");
    measured.processes.push_back(process.is_string() ? process.get<std::string>() : "");
    measured.seconds.push_back(*seconds);
    measured.cpu_seconds.push_back(times.all_cpu_s());
    measured.tflops.push_back(*tflops);
    if (peak.fraction) measured.peak_shares.push_back(*peak.fraction);
    measured.tokens_per_s.push_back(part_of<double>(record.json, "tokens_per_s"));
  }
  measured.peak_tflops = median_if_any(peaks);
  measured.read_gbps = median_if_any(rates);
  return measured;
}

int64_t num_agreeing(const StoredJson& a, const StoredJson& b) {
  int64_t n = 0;
  for (const auto& [axis, value] : a.items()) n += b.contains(axis) && b.at(axis) == value ? 1 : 0;
  return n;
}

}  // namespace

StoredJson at_or_null(const StoredJson& json, const std::string& pointer) {
  const StoredJson::json_pointer where(pointer);
  return json.contains(where) ? json.at(where) : StoredJson(nullptr);
}

StoredJson subject_of(const StoredJson& record) {
  StoredJson subject = at_or_null(record, "/config");
  if (!subject.is_object()) subject = StoredJson::object();  // a database may hold anything here
  const StoredJson plan = at_or_null(record, "/hash/plan"), weights = at_or_null(record, "/hash/weights");
  if (!plan.is_null()) subject["plan"] = plan;
  if (!weights.is_null()) subject["weights_hash"] = weights;
  return subject;
}

std::vector<StoredJson> differences_of(const std::vector<StoredJson>& subjects) {
  std::vector<std::string> names;  // in the order of the subjects
  for (const StoredJson& subject : subjects) {
    for (const auto& [name, value] : subject.items())
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::vector<StoredJson> differences(subjects.size(), StoredJson::object());
  for (const std::string& name : names) {
    std::vector<StoredJson> values;
    for (const StoredJson& subject : subjects) values.push_back(subject.value(name, StoredJson()));
    if (std::equal(values.begin() + 1, values.end(), values.begin())) continue;
    for (size_t i = 0; i < values.size(); ++i) differences[i][name] = values[i];
  }
  std::vector<StoredJson> plain = differences;
  std::set<std::string> distinct;
  for (StoredJson& difference : plain) {
    for (const char* hash : kSubjectHashes) difference.erase(hash);
    distinct.insert(json_text(difference));
  }
  return distinct.size() == plain.size() ? plain : differences;
}

std::string difference_words(const StoredJson& difference) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : difference.items())
    if (!value.is_null()) parts.push_back(fmt::format("{}={}", name, value_text(value)));
  return fmt::format("{}", fmt::join(parts, " "));
}

std::vector<std::string> told_apart(std::vector<std::string> labels,
                                    const std::vector<StoredJson>& subjects) {
  std::map<std::string, std::vector<size_t>> same;  // by label
  for (size_t i = 0; i < labels.size(); ++i) same[labels[i]].push_back(i);
  for (const auto& [label, group] : same) {
    std::vector<StoredJson> own;
    for (const size_t i : group) own.push_back(subjects[i]);
    const std::vector<StoredJson> differences = differences_of(own);
    for (size_t g = 0; g < group.size(); ++g) {
      const std::string words = difference_words(differences[g]);
      if (!words.empty()) labels[group[g]] += " " + words;
    }
  }
  return labels;
}

std::string measuring_host(const StoredJson& record) {
  return part_of<Words>(part_of<StoredJson>(record, "env"), "host").value_or("");
}

std::vector<Measured> measure(std::vector<StoredRecord> records) {
  std::erase_if(records, [](const StoredRecord& record) { return is_ablated(record.json); });
  std::vector<std::pair<ProfilePath, StoredJson>> kinds;
  std::vector<std::vector<StoredRecord>> alike;  // by kind
  for (StoredRecord& record : records) {
    const std::pair kind(path_of(record.json), subject_of(record.json));
    const auto known = std::find(kinds.begin(), kinds.end(), kind);
    const size_t i = static_cast<size_t>(known - kinds.begin());
    if (known == kinds.end()) {
      kinds.push_back(kind);
      alike.emplace_back();
    }
    alike[i].push_back(std::move(record));
  }
  std::vector<Measured> all;
  for (const std::vector<StoredRecord>& of_kind : alike) all.push_back(measure_alike(of_kind));
  return all;
}

std::optional<double> predicted_seconds(const Measured& measured) {
  const auto predicted = part_of<std::optional<RecordedPrediction>>(measured.first, "prediction");
  const bool routes = at_or_null(measured.first, "/config/route_in_step") == StoredJson(true);
  return predicted && !routes ? std::optional(predicted->time_s) : std::nullopt;
}

Summary tflops_summary(const Measured& measured) {
  return measured.tflops.empty() ? Summary{} : summarize(measured.tflops);
}

const StoredPoint* baseline_of(const std::vector<StoredPoint>& points, const StoredPoint& point) {
  if (point.is_baseline) return nullptr;
  const StoredPoint* best = nullptr;
  for (const StoredPoint& candidate : points) {
    if (!candidate.is_baseline) continue;
    if (best == nullptr || num_agreeing(candidate.axes, point.axes) > num_agreeing(best->axes, point.axes))
      best = &candidate;
  }
  return best;
}

}  // namespace moehill
