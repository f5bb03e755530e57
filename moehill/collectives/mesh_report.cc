// Implementation of collectives/mesh_report.h.
#include "moehill/collectives/mesh_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "moehill/base/json_fields.h"
#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"

namespace moehill {
namespace {

std::string text_if(bool exists, double value) { return exists ? fmt::format("{:.2f}", value) : "-"; }
Json number_if(bool exists, double value) { return exists ? Json(value) : Json(nullptr); }

Json time_json(const std::vector<double>& samples) {
  const bool timed = !samples.empty();
  const Summary s = timed ? summarize(samples) : Summary{};
  const bool known = s.interval.has_value();
  return {{"median", number_if(timed, s.median)},
          {"ci_lo", number_if(known, known ? s.interval->lo : 0)},
          {"ci_hi", number_if(known, known ? s.interval->hi : 0)},
          {"coverage", number_if(known, known ? s.interval->coverage : 0)},
          {"min", number_if(timed, s.min)},
          {"max", number_if(timed, s.max)},
          {"n", s.n},
          {"samples", samples}};
}

Json config_json(const MeshOptions& o, const CollectiveResult& r) {
  return {{"collective", name_of(r.collective)},
          {"dtype", dtype_name(r.dtype)},
          {"min_bytes", o.min_bytes},
          {"max_bytes", o.max_bytes},
          {"factor", o.factor},
          {"iters", o.iters},
          {"warmup", o.warmup},
          {"check", o.check ? 1 : 0},
          {"mesh", name_of(o.mesh)}};
}

Json layout_json(const MeshOptions& o, const MeshResult& result, const Environment& environment) {
  const int num_threads = result.num_devices * result.threads_per_device;
  return {{"devices", result.num_devices},
          {"threads_per_device", result.threads_per_device},
          {"cores", std::min(num_threads, environment.topology.num_cores)},
          {"mesh", name_of(o.mesh)},
          {"nodes", environment.num_nodes}};
}

Json environment_json(const Environment& e) {
  return {{"build", build_identity(e)},
          {"compiler", e.compiler},
          {"cpu", e.topology.cpu_model},
          {"kernel", e.kernel},
          {"system", e.system},
          {"cores", e.topology.num_cores},
          {"mpi", e.mpi.empty() ? Json(nullptr) : Json(e.mpi)},
          {"load_average", e.load_average}};
}

}  // namespace

std::string mesh_header(const MeshOptions& options, int num_devices, int threads_per_device) {
  return fmt::format(
      "mesh {}, {}; medians of {} after {} of warm-up; the slowest device of each call counts\n",
      name_of(options.mesh), layout_words(num_devices, threads_per_device), count_text(options.iters, "call"),
      options.warmup);
}

StreamedTable mesh_table(const MeshOptions& options, bool beside_library) {
  std::vector<StreamedTable::Column> columns = {
      {"collective", 14},  {"size (B)", std::to_string(options.max_bytes).size()},
      {"count", 10},       {"type", 0},
      {"time (us)", 11},   {"algbw (GB/s)", 0},
      {"busbw (GB/s)", 0}, {"% of copy", 0},
      {"#wrong", 0}};
  if (beside_library) columns.insert(columns.end(), {{"library (us)", 0}, {"library/ours", 0}});
  return StreamedTable(columns);
}

std::vector<std::string> mesh_row(const CollectiveResult& r, double copy_bytes_per_s) {
  const bool timed = !r.samples.empty(), trusted = r.trusted();
  std::vector<std::string> row = {
      name_of(r.collective),
      fmt::format("{:.0f}", r.bytes()),
      std::to_string(r.n),
      dtype_name(r.dtype),
      text_if(timed, timed ? 1e6 * median_of(r.samples) : 0),
      text_if(trusted, trusted ? r.algorithm_bandwidth() / 1e9 : 0),
      text_if(trusted, trusted ? r.bus_bandwidth() / 1e9 : 0),
      text_if(trusted, trusted ? 100 * r.memory_bandwidth() / copy_bytes_per_s : 0),
      r.num_wrong ? std::to_string(*r.num_wrong) : "-"};
  if (r.library_samples.empty()) return row;
  row.push_back(text_if(trusted, trusted ? 1e6 * median_of(r.library_samples) : 0));
  row.push_back(text_if(trusted, trusted ? median_of(r.library_samples) / median_of(r.samples) : 0));
  return row;
}

std::string mesh_closing(const MeshResult& result) {
  std::string text = fmt::format("streaming copy of the same threads: {:.2f} GB/s read and written\n",
                                 result.copy_bytes_per_s / 1e9);
  struct Mean {
    double sum = 0;
    int64_t n = 0;
    bool trusted = true;
  };
  std::map<Collective, Mean> means;
  for (const CollectiveResult& r : result.collectives) {
    Mean& mean = means[r.collective];
    // One size without a bandwidth leaves the whole collective without a mean.
    mean.trusted &= r.trusted();
    if (mean.trusted) mean.sum += r.bus_bandwidth();
    ++mean.n;
  }
  for (const auto& [collective, mean] : means) {
    const double average = mean.sum / static_cast<double>(mean.n);
    text += fmt::format("{}: average busbw {} GB/s, {} of the copy bandwidth\n", name_of(collective),
                        text_if(mean.trusted, average / 1e9),
                        text_if(mean.trusted, average / result.copy_bytes_per_s));
  }
  if (num_failed(result) > 0) {
    text += fmt::format("FAILED: wrong elements in {} of {}\n", num_failed(result),
                        count_text(std::ssize(result.collectives), "line"));
  }
  return text;
}

std::string mesh_records(const MeshOptions& options, const MeshResult& result, const Environment& environment,
                         const std::string& time_utc) {
  std::string lines;
  for (size_t i = 0; i < result.collectives.size(); ++i) {
    const CollectiveResult& r = result.collectives[i];
    const bool trusted = r.trusted();
    Json json;
    json["schema"] = "moehill/1";
    json["command"] = "mesh";
    json["time_utc"] = time_utc;
    json["seq"] = i;
    json["config"] = config_json(options, r);
    json["layout"] = layout_json(options, result, environment);
    json["size_bytes"] = static_cast<int64_t>(r.bytes());
    json["count"] = r.n;
    json["time_s"] = time_json(r.samples);
    json["algbw_gbps"] = number_if(trusted, trusted ? r.algorithm_bandwidth() / 1e9 : 0);
    json["busbw_gbps"] = number_if(trusted, trusted ? r.bus_bandwidth() / 1e9 : 0);
    json["copy_fraction"] = number_if(trusted, trusted ? r.memory_bandwidth() / result.copy_bytes_per_s : 0);
    json["peak"] = {{"copy_gbps", result.copy_bytes_per_s / 1e9}};
    json["library_time_s"] = r.library_samples.empty() ? Json(nullptr) : time_json(r.library_samples);
    json["num_wrong"] = r.num_wrong ? Json(*r.num_wrong) : Json(nullptr);
    json["env"] = environment_json(environment);
    lines += json_line(json);
  }
  return lines;
}

int64_t num_failed(const MeshResult& result) {
  return std::count_if(result.collectives.begin(), result.collectives.end(),
                       [](const CollectiveResult& r) { return r.num_wrong.value_or(0) > 0; });
}

}  // namespace moehill
