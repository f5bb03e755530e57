// Implementation of report/measured.h.
#include "moehill/report/measured.h"

#include <algorithm>

#include "moehill/record/record.h"

namespace moehill {
namespace {

std::optional<double> median_if_any(const std::vector<double>& values) {
  return values.empty() ? std::nullopt : std::optional(median_of(values));
}

ProfilePath path_of(const StoredJson& record) { return part_of<ProfilePath>(record, "path"); }

Measured measure_path(const std::vector<StoredRecord>& records, ProfilePath path) {
  Measured measured;
  measured.path = path;
  std::vector<double> peaks, rates;
  for (const StoredRecord& record : records) {
    if (path_of(record.json) != path) continue;
    if (measured.first.is_null()) measured.first = record.json;
    measured.disturbed += record.disturbed ? 1 : 0;
    const auto peak = part_of<RecordedPeak>(record.json, "peak");
    if (peak.tflops_measured) peaks.push_back(*peak.tflops_measured);
    if (peak.read_gbps.median) rates.push_back(*peak.read_gbps.median);
    const Figure seconds = part_of<RecordedTimes>(record.json, "time_s").median;
    const Figure tflops = tflops_of(record.json);
    // Other figures come only from a damaged database. Their logarithms would have no order.
    if (!seconds || !tflops || *tflops <= 0 || *seconds <= 0) continue;
    if (measured.rounds.empty()) measured.first = record.json;
    measured.rounds.push_back(record.round);
    measured.hosts.push_back(measuring_host(record.json));
    const StoredJson process = at_or_null(record.json, "/process/id");
    measured.processes.push_back(process.is_string() ? process.get<std::string>() : "");
    measured.seconds.push_back(*seconds);
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

std::string measuring_host(const StoredJson& record) {
  return part_of<Words>(part_of<StoredJson>(record, "env"), "host").value_or("");
}

std::vector<Measured> measure(std::vector<StoredRecord> records) {
  std::erase_if(records, [](const StoredRecord& record) { return is_ablated(record.json); });
  std::vector<ProfilePath> paths;
  for (const StoredRecord& record : records) {
    const ProfilePath path = path_of(record.json);
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  }
  std::vector<Measured> all;
  for (const ProfilePath path : paths) all.push_back(measure_path(records, path));
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
