#include "moehill/record/record.h"

#include <algorithm>
#include <cmath>

namespace moehill {
namespace {

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json number_if(bool exists, double value) { return exists ? number(value) : Json(nullptr); }
// ci_lo, ci_hi and their coverage; null without an interval.
void add_interval(Json& json, const std::optional<Interval>& interval) {
  json["ci_lo"] = number_if(interval.has_value(), interval ? interval->lo : 0);
  json["ci_hi"] = number_if(interval.has_value(), interval ? interval->hi : 0);
  json["coverage"] = number_if(interval.has_value(), interval ? interval->coverage : 0);
}
Json hex(uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace

Json config_json(const BenchOptions& o, const Point& point) {
  Json json;
  json["preset"] = o.preset.empty() ? Json(nullptr) : Json(o.preset);
  write_fields(json, point.config.shape);
  write_fields(json, point.config.block);
  write_fields(json, point.distribution);
  write_fields(json, point.config);
  write_fields(json, o);
  return json;
}

namespace {

// A list a device; null where the threads are not pinned.
Json cpus_json(const PointResult& result) {
  if (result.cpus.empty()) return nullptr;
  Json devices = Json::array();
  const int64_t num_threads = result.point.config.threads_per_device;
  for (auto at = result.cpus.begin(); at != result.cpus.end(); at += num_threads)
    devices.push_back(std::vector<int>(at, at + num_threads));
  return devices;
}

Json layout_json(const BenchOptions& o, const PointResult& result, const Environment& environment) {
  const RunConfig& config = result.point.config;
  const int num_threads = config.num_devices * config.threads_per_device;
  return {{"devices", config.num_devices},
          {"threads_per_device", config.threads_per_device},
          {"cores", std::min(num_threads, environment.topology.num_cores)},
          {"mesh", o.mesh},
          {"nodes", environment.num_nodes},
          {"cpus", cpus_json(result)}};
}

Json time_json(const PointResult& result) {
  Json json;
  const bool timed = result.timed();
  const Summary s = timed ? summarize(result.samples) : Summary{};
  json["median"] = number_if(timed, s.median);
  add_interval(json, s.interval);
  json["min"] = number_if(timed, s.min);
  json["max"] = number_if(timed, s.max);
  json["n"] = s.n;
  json["samples"] = result.samples;
  json["cpu_s"] = result.cpu_seconds;
  return json;
}

Json instruction_json(const InstructionPeak& peak) {
  return peak.best > 0 ? Json(peak.instruction) : Json(nullptr);
}

// The point's own peak first, then those of both dtypes.
Json peak_json(const PointResult& result) {
  const Peaks& peaks = result.peaks;
  const InstructionPeak& own = result.peak();
  const auto teraflops = [](const InstructionPeak& peak) {
    return number_if(peak.best > 0, peak.best / 1e12);
  };
  const auto gigabytes = [&](double rate) { return number_if(peaks.read.median > 0, rate / 1e9); };
  const bool ok = own.best > 0 && result.trusted();
  return {{"dtype", dtype_name(result.point.config.shape.dtype)},
          {"instruction", instruction_json(own)},
          {"tflops_measured", teraflops(own)},
          {"tflops_typical", number_if(own.best > 0, own.typical / 1e12)},
          {"fraction", number_if(ok, ok ? peak_fraction(result) : 0)},
          {"tflops_f32", teraflops(peaks.f32)},
          {"tflops_bf16", teraflops(peaks.bf16)},
          {"instruction_f32", instruction_json(peaks.f32)},
          {"instruction_bf16", instruction_json(peaks.bf16)},
          {"read_gbps",
           {{"median", gigabytes(peaks.read.median)},
            {"min", gigabytes(peaks.read.min)},
            {"max", gigabytes(peaks.read.max)}}}};
}

void add_throughput(Json& json, const PointResult& result) {
  const bool ok = result.trusted();
  const double tflops = ok ? model_flops_per_s(result) / 1e12 : 0;
  json["tflops"] = number_if(ok, tflops);
  json["tflops_executed"] = number_if(ok, ok ? executed_flops_per_s(result) / 1e12 : 0);
  json["tflops_per_device"] = number_if(ok, tflops / result.point.config.num_devices);
  json["tokens_per_s"] = number_if(ok, ok ? tokens_per_s(result) : 0);
  json["peak"] = peak_json(result);
}

Json stages_json(const PointResult& result) {
  Json forward = Json::object(), backward = Json::object();
  if (result.stage_samples.empty())
    return {{"forward", forward},
            {"backward", backward},
            {"unaccounted_s", nullptr},
            {"too_much_unaccounted", nullptr}};
  const StageSeconds stages = stages_of_median(result);
  for (int i = 0; i < kNumStages; ++i) {
    if (stages.seconds[i] <= 0) continue;
    (i < kFirstBackwardStage ? forward : backward)[name_of(static_cast<Stage>(i))] = stages.seconds[i];
  }
  Json devices = Json::array();
  for (const DeviceSeconds& device : stages.devices) {
    devices.push_back({{"busy_s", number(device.busy())}, {"wait_s", number(device.wait)}});
  }
  return {{"forward", forward},
          {"backward", backward},
          {"unaccounted_s", number(stages.unaccounted)},
          {"too_much_unaccounted", stages.too_much_unaccounted()},
          {"step_s", number(stages.step)},
          {"devices", devices},
          {"slowest_device", stages.slowest},
          {"busy_max_over_mean", number(stages.busy_max_over_mean)}};
}

void add_routing(Json& json, const PointResult& result) {
  const RunConfig& config = result.point.config;
  const double assignments = static_cast<double>(config.shape.assignments());
  const bool capped = config.block.capacity.policy != CapacityPolicy::none;
  json["runs"] = {{"num", result.runs.num},
                  {"mean", number(result.runs.mean)},
                  {"p95", number(result.runs.p95)},
                  {"max", result.runs.max}};
  json["load"] = {{"min", result.load.min},
                  {"max", result.load.max},
                  {"std", number(result.load.std)},
                  {"cv", number(result.load.cv)}};
  json["balance"] = {{"expert_max_over_mean", number(result.expert_max_over_mean)},
                     {"device_max_over_mean", number(result.device_max_over_mean)}};
  Json skew = Json::array();
  for (const SkewProperty& p : result.skew) {
    skew.push_back(
        {{"property", p.name}, {"asked", p.asked}, {"achieved", p.achieved}, {"lo", p.lo}, {"hi", p.hi}});
  }
  json["skew"] = skew;
  json["capacity"] = {{"policy", name_of(config.block.capacity.policy)},
                      {"factor", number_if(capped, config.block.capacity.factor)},
                      {"cap", number_if(capped, static_cast<double>(result.capacity_rows))},
                      {"num_dropped", result.num_dropped},
                      {"drop_fraction", number(static_cast<double>(result.num_dropped) / assignments)}};
  if (capped) json["capacity"]["cap"] = result.capacity_rows;
}

Json comm_json(const PointResult& result) {
  Json sent = Json::array(), received = Json::array(), flight = Json::array(), progress = Json::array();
  for (const Traffic& traffic : result.traffic) {
    sent.push_back(traffic.sent_bytes);
    received.push_back(traffic.received_bytes);
    flight.push_back(traffic.flight_seconds);
    progress.push_back(traffic.progress_calls);
  }
  const auto moved = [&](Move move) { return result.moved_bytes[static_cast<size_t>(move)]; };
  return {{"sent_bytes", sent},
          {"received_bytes", received},
          {"dispatch_bytes", moved(Move::dispatch)},
          {"combine_bytes", moved(Move::combine)},
          {"gradient_bytes", moved(Move::gradients)},
          {"metadata_bytes", moved(Move::metadata)},
          {"lower_bound_bytes", result.lower_bound_bytes},
          {"flight_s", flight},
          {"progress_calls", progress}};
}

Json overlap_json(const PointResult& result) {
  if (!result.overlap) return nullptr;
  const Overlap& o = *result.overlap;
  Json json = {{"computation_s", o.computation},
               {"communication_s", o.communication},
               {"both_s", o.both},
               {"hidden", number(o.hidden.median)}};
  add_interval(json, o.hidden.interval);
  json["n"] = o.hidden.n;
  return json;
}

Json check_json(const BenchOptions& o, const PointResult& result) {
  const CheckResult& check = result.check;
  const bool exists = check.status == "passed" || check.status == "failed";
  Json gradients = Json::object();
  for (const auto& [name, error] : check.grad_rel_err) gradients[name] = number(error);
  return {{"status", check.status},
          {"forward_rel_err", number_if(exists, check.forward_rel_err)},
          {"grad_rel_err", gradients},
          {"worst_row", check.worst_row.empty() ? Json(nullptr) : Json(check.worst_row)},
          {"reason", check.reason.empty() ? Json(nullptr) : Json(check.reason)},
          {"mode", name_of(o.check)},
          {"what", check.what.empty() ? Json(nullptr) : Json(check.what)},
          {"rows", exists ? Json(check.num_rows) : Json(nullptr)},
          {"sampled_rows", exists ? Json(check.num_sampled_rows) : Json(nullptr)},
          {"how", check.how.empty() ? Json(nullptr) : Json(check.how)},
          {"timed_steps", result.trusted() ? Json(kTimedStepCheck) : Json(nullptr)},
          {"seed", exists ? Json(check.seed) : Json(nullptr)},
          {"worst_bounds", number_if(exists, check.worst_bounds)},
          {"worst_number", check.worst_number.empty() ? Json(nullptr) : Json(check.worst_number)}};
}

}  // namespace

Json environment_record(const Environment& e) {
  const Topology& t = e.topology;
  return {{"build", e.build},
          {"compiler", e.compiler},
          {"flags", e.flags},
          {"cpu", t.cpu_model},
          {"caches",
           {{"l1d_bytes", t.l1d_bytes},
            {"l2_bytes", t.l2_bytes},
            {"l3_bytes", t.l3_bytes},
            {"num_l3", t.num_l3}}},
          {"cores", t.num_cores},
          {"mpi", e.mpi.empty() ? Json(nullptr) : Json(e.mpi)},
          {"kernel", e.kernel},
          {"system", e.system},
          {"load_average", number_if(e.load_average >= 0, e.load_average)}};
}

namespace {

// Memory: that of this point alone.
Json prediction_json(const PointResult& result, bool process_a_device) {
  if (!result.prediction) return nullptr;
  Json stages = Json::object();
  for (const StagePrediction& stage : result.prediction->stages)
    stages[name_of(stage.stage)] = stage.seconds();
  double memory = 0;
  const RunConfig& config = result.point.config;
  for (const MemoryPart& part : predict_memory({config}, process_a_device ? config.num_devices : 1))
    memory += part.bytes;
  return {{"time_s", result.prediction->time_s}, {"stages", stages}, {"memory_bytes", memory}};
}

Json comparison_json(const Comparison& comparison) {
  Json json = {{"with_seq", comparison.none}, {"ratio", number(comparison.ratio.ratio)}};
  add_interval(json, comparison.ratio.interval);
  json["n"] = comparison.ratio.n;
  json["verdict"] = name_of(judge(comparison.ratio));
  return json;
}

}  // namespace

Json make_record(const BenchOptions& options, const CommandResult& command, size_t index) {
  const PointResult& result = command.points[index];
  Json json;
  json["schema"] = "moehill/1";
  json["command"] = command.command;
  if (!result.point.path.empty()) json["path"] = result.point.path;
  json["time_utc"] = command.time_utc;
  json["process"] = {{"id", hex(command.process_id)}, {"started_s", command.started_s}};
  json["seq"] = index;
  json["config"] = config_json(options, result.point);
  json["tuned"] = result.point.tuned;
  json["layout"] = layout_json(options, result, command.environment);
  json["timed_region"] = result.timed_region;
  json["caches"] = command.cache_state;
  json["time_s"] = time_json(result);
  add_throughput(json, result);
  json["stages"] = stages_json(result);
  add_routing(json, result);
  json["comm"] = comm_json(result);
  json["overlap"] = overlap_json(result);
  json["memory"] = {{"predicted_bytes", command.predicted_bytes}, {"peak_rss_bytes", command.peak_rss_bytes}};
  json["check"] = check_json(options, result);
  json["hash"] = {{"plan", hex(result.plan_hash)}, {"output", hex(result.output_hash)}};
  json["env"] = environment_record(command.environment);
  json["prediction"] = prediction_json(result, options.mesh == "mpi");
  json["schedule"] = {{"stop_reason", command.stop_reason}, {"order", command.order}};
  return json;
}

std::string record_lines(const BenchOptions& options, const CommandResult& result) {
  const std::vector<Comparison> comparisons = compare_modes(result.points, options.seed);
  std::string lines;
  for (size_t i = 0; i < result.points.size(); ++i) {
    Json record = make_record(options, result, i);
    for (const Comparison& comparison : comparisons) {
      if (comparison.ep == i) record["comparison"] = comparison_json(comparison);
    }
    for (const Comparison& comparison : compare_paths(result.points, options.seed)) {
      if (comparison.ep != i) continue;
      Json json = comparison_json(comparison);
      json["with_path"] = result.points[comparison.none].point.path;
      record["comparisons"].push_back(json);
    }
    lines += record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return lines;
}

}  // namespace moehill
