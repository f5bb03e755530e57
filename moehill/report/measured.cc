#include "moehill/report/measured.h"

#include <algorithm>

namespace moehill {
namespace {

std::optional<double> median_at(const std::vector<const StoredJson*>& records, const std::string& pointer) {
  std::vector<double> values;
  for (const StoredJson* record : records) {
    if (const auto value = number_at(*record, pointer)) values.push_back(*value);
  }
  return values.empty() ? std::nullopt : std::optional(median_of(values));
}

std::string path_of(const StoredJson& record) {
  const auto path = record.find("path");
  return path != record.end() && path->is_string() ? path->get<std::string>() : std::string();
}

Measured measure_path(const std::vector<StoredRecord>& records, const std::string& path) {
  Measured measured;
  measured.path = path;
  std::vector<const StoredJson*> own;
  for (const StoredRecord& record : records) {
    if (path_of(record.json) != path) continue;
    own.push_back(&record.json);
    measured.disturbed += record.disturbed ? 1 : 0;
    const auto seconds = number_at(record.json, "/time_s/median"), tflops = number_at(record.json, "/tflops");
    if (!seconds || !tflops || *tflops <= 0) continue;
    measured.rounds.push_back(record.round);
    measured.seconds.push_back(*seconds);
    measured.tflops.push_back(*tflops);
    measured.tokens_per_s.push_back(number_at(record.json, "/tokens_per_s").value_or(0));
  }
  measured.first = *own.front();
  measured.peak_tflops = median_at(own, "/peak/tflops_measured");
  measured.read_gbps = median_at(own, "/peak/read_gbps/median");
  if (!measured.read_gbps)
    measured.read_gbps = median_at(own, "/peak/read_gbps");  // records before 2026-11-28
  return measured;
}

int64_t num_agreeing(const StoredJson& a, const StoredJson& b) {
  int64_t n = 0;
  for (const auto& [axis, value] : a.items()) n += b.contains(axis) && b.at(axis) == value ? 1 : 0;
  return n;
}

}  // namespace

std::optional<double> number_at(const StoredJson& json, const std::string& pointer) {
  const StoredJson::json_pointer where(pointer);
  if (!json.contains(where) || !json.at(where).is_number()) return std::nullopt;
  return json.at(where).get<double>();
}

std::vector<Measured> measure(const std::vector<StoredRecord>& records) {
  std::vector<std::string> paths;
  for (const StoredRecord& record : records) {
    const std::string path = path_of(record.json);
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  }
  std::vector<Measured> all;
  for (const std::string& path : paths) all.push_back(measure_path(records, path));
  return all;
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
