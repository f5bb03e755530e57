// Fills a record from the results of a command. Each function fills one part of record/record.h and computes
// nothing that results.h does not define.
#include "moehill/measure/make_record.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "moehill/base/table.h"
#include "moehill/measure/ablation_arms.h"
#include "moehill/measure/loading.h"
#include "moehill/parallel/memory_model.h"

namespace moehill {
namespace {

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }
Figure figure_if(bool exists, double value) { return exists ? Figure(value) : Figure(); }
Words words_if_any(const std::string& text) { return text.empty() ? Words() : Words(text); }

// Returns where the threads and devices of a point were.
RecordedLayout layout_of(const BenchOptions& o, const PointResult& result, const Environment& environment) {
  const RunConfig& config = result.point.config;
  RecordedLayout layout;
  layout.devices = config.num_devices;
  layout.threads_per_device = config.threads_per_device;
  layout.cores = std::min(config.num_devices * config.threads_per_device, environment.topology.num_cores);
  layout.mesh = o.mesh;
  layout.nodes = environment.num_nodes;
  layout.node_of = environment.node_of;
  // If one thread is not pinned, its CPU says nothing about where it will be.
  if (!all_pinned(result.placement)) return layout;
  layout.cpus.emplace();
  layout.numa.emplace();
  layout.remote_share.emplace();
  for (const DevicePlace& device : result.placement) {
    layout.cpus->emplace_back();
    layout.numa->emplace_back();
    layout.remote_share->push_back(device.remote_share());
    for (const ThreadPlace& thread : device.threads) {
      layout.cpus->back().push_back(thread.cpu);
      layout.numa->back().push_back(thread.numa);
    }
  }
  return layout;
}

RecordedTimes times_of(const PointResult& result) {
  const bool timed = result.timed();
  const Summary s = timed ? summarize(result.samples) : Summary{};
  return {figure_if(timed, s.median), s.interval, figure_if(timed, s.min),
          figure_if(timed, s.max),    s.n,        result.samples,
          result.cpu_seconds};
}

RecordedPeak peak_of(const PointResult& result) {
  const Peaks& peaks = result.peaks;
  const InstructionPeak& own = result.peak();
  const auto teraflops = [](const InstructionPeak& peak) {
    return figure_if(peak.best > 0, peak.best / 1e12);
  };
  const auto instruction = [](const InstructionPeak& peak) {
    return peak.best > 0 ? Words(peak.instruction) : Words();
  };
  const auto gigabytes = [&](double rate) { return figure_if(peaks.read.median > 0, rate / 1e9); };
  // Without a passed check there is no throughput, and so no share of the peak.
  const bool ok = own.best > 0 && result.trusted();
  return {.dtype = result.point.config.shape.dtype,
          .instruction = instruction(own),
          .tflops_measured = teraflops(own),
          .tflops_typical = figure_if(own.best > 0, own.typical / 1e12),
          .fraction = ok ? Figure(peak_fraction(result)) : Figure(),
          .tflops_f32 = teraflops(peaks.f32),
          .tflops_bf16 = teraflops(peaks.bf16),
          .instruction_f32 = instruction(peaks.f32),
          .instruction_bf16 = instruction(peaks.bf16),
          .read_gbps = {gigabytes(peaks.read.median), gigabytes(peaks.read.min), gigabytes(peaks.read.max)}};
}

// Adds the figures of speed, but only for a point that passed its check: a wrong result has no throughput.
void add_throughput(Record& record, const PointResult& result) {
  if (!result.trusted()) return;
  record.tflops = model_flops_per_s(result) / 1e12;
  record.tflops_executed = executed_flops_per_s(result) / 1e12;
  record.tflops_per_device = *record.tflops / result.point.config.num_devices;
  record.tokens_per_s = tokens_per_s(result);
  record.drop_adjusted_tokens_per_s = drop_adjusted_tokens_per_s(result);
}

// Returns the stages of the step nearest to the median, split into forward and backward.
RecordedStages stages_of(const PointResult& result) {
  RecordedStages recorded;
  if (result.stage_samples.empty()) return recorded;
  const StageSeconds stages = stages_of_median(result);
  NamedNumbers& hand_overs = recorded.hand_overs.emplace();
  for (const Stage stage : all_values<Stage>()) {
    const double seconds = stages.seconds[static_cast<size_t>(stage)];
    if (seconds <= 0) continue;
    (is_backward(stage) ? recorded.backward : recorded.forward).emplace_back(name_of(stage), seconds);
    hand_overs.emplace_back(name_of(stage), stages.hand_overs[static_cast<size_t>(stage)]);
  }
  recorded.unaccounted_s = stages.unaccounted;
  recorded.too_much_unaccounted = stages.too_much_unaccounted();
  recorded.step_s = stages.step;
  recorded.devices.emplace();
  for (const DeviceSeconds& device : stages.devices)
    recorded.devices->push_back({device.busy(), device.wait});
  if (!stages.waits.empty()) recorded.waited_for = culprit_sentence(stages.waits);
  for (const WaitEntry& e : stages.waits)
    recorded.waits.push_back({name_of(e.stage), e.device, e.other, name_of(e.busy_in), e.seconds});
  recorded.slowest_device = static_cast<int64_t>(stages.slowest);
  recorded.busy_max_over_mean = stages.busy_max_over_mean;
  return recorded;
}

RecordedCapacity capacity_of(const PointResult& result) {
  const RunConfig& config = result.point.config;
  const Capacity& capacity = config.block.capacity;
  RecordedCapacity recorded;
  recorded.policy = capacity.policy;
  if (capacity.policy != CapacityPolicy::none) {
    recorded.factor = capacity.factor;
    recorded.cap = result.capacity_rows;
  }
  recorded.num_dropped = result.num_dropped;
  recorded.num_spilled = result.num_spilled;
  recorded.num_unassigned = result.num_unassigned;
  recorded.num_zero = result.num_zero;
  recorded.recv_factor = figure_if(result.recv_factor > 0, result.recv_factor);
  recorded.assign_factor = figure_if(result.assign_factor > 0, result.assign_factor);
  recorded.recv_buffer_factor = figure_if(result.recv_buffer_factor > 0, result.recv_buffer_factor);
  recorded.drop_fraction = drop_fraction(result);
  return recorded;
}

RecordedTraffic traffic_of(const PointResult& result) {
  RecordedTraffic recorded;
  for (const Traffic& traffic : result.traffic) {
    recorded.sent_bytes.push_back(traffic.sent_bytes);
    recorded.received_bytes.push_back(traffic.received_bytes);
    recorded.flight_s.push_back(traffic.flight_seconds);
    recorded.progress_calls.push_back(traffic.progress_calls);
    recorded.link_bytes.node.push_back(traffic.sent_bytes - traffic.network_bytes);
    recorded.link_bytes.network.push_back(traffic.network_bytes);
  }
  recorded.logical_bytes = {result.logical_bytes.node, result.logical_bytes.network};
  const auto moved = [&](Move move) { return result.moved_bytes[static_cast<size_t>(move)]; };
  recorded.dispatch_bytes = moved(Move::dispatch);
  recorded.combine_bytes = moved(Move::combine);
  recorded.gradient_bytes = moved(Move::gradients);
  recorded.metadata_bytes = moved(Move::metadata);
  recorded.lower_bound_bytes = result.lower_bound_bytes;
  return recorded;
}

RecordedCheck check_of(const BenchOptions& o, const PointResult& result) {
  const CheckResult& check = result.check;
  RecordedCheck recorded;
  recorded.status = check.status;
  for (const auto& [name, error] : check.grad_rel_err) recorded.grad_rel_err.emplace_back(name, error);
  recorded.worst_row = words_if_any(check.worst_row);
  recorded.reason = words_if_any(check.reason);
  recorded.mode = o.check;
  recorded.what = words_if_any(check.what);
  recorded.how = words_if_any(check.how);
  if (result.trusted()) recorded.timed_steps = timed_step_words(check);
  recorded.worst_number = words_if_any(check.worst_number);
  recorded.same_bits_as = words_if_any(check.same_bits_as);
  // Errors exist only if the check has compared something.
  if (check.status != CheckStatus::passed && check.status != CheckStatus::failed) return recorded;
  recorded.forward_rel_err = check.forward_rel_err;
  recorded.rows = check.num_rows;
  recorded.sampled_rows = check.num_sampled_rows;
  recorded.seed = check.seed;
  recorded.time_s = check.seconds;
  recorded.worst_bounds = check.worst_bounds;
  if (check.wire.tokens == 0) return recorded;
  recorded.wire_error = RecordedWireError{check.wire.tokens, check.wire.y_max, check.wire.y_rms, {}, {}};
  if (result.point.config.block.pass == Pass::forward) return recorded;
  recorded.wire_error->dx_max = check.wire.dx_max;
  recorded.wire_error->dx_rms = check.wire.dx_rms;
  return recorded;
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// Returns the predicted time and the predicted memory of this point, as if it were the command's only point,
// summed over processes.
std::optional<RecordedPrediction> prediction_of(const PointResult& result, bool process_a_device) {
  if (!result.prediction) return std::nullopt;
  RecordedPrediction recorded;
  recorded.time_s = result.prediction->time_s;
  for (const StagePrediction& stage : result.prediction->stages)
    recorded.stages.emplace_back(name_of(stage.stage), stage.seconds());
  const RunConfig& config = result.point.config;
  const int num_processes = process_a_device ? config.num_devices : 1;
  for (int rank = 0; rank < num_processes; ++rank) {
    for (const MemoryPart& part : predict_memory({config}, {.num_processes = num_processes, .rank = rank}))
      recorded.memory_bytes += part.bytes;
  }
  return recorded;
}

RecordedComparison comparison_of(const Comparison& c, ProfilePath with_path = ProfilePath::none) {
  return {
      static_cast<int64_t>(c.none), c.ratio.ratio, c.ratio.interval, c.ratio.n, judge(c.ratio), with_path};
}

}  // namespace

RecordedConfig recorded_config(const BenchOptions& o, const Point& point) {
  return {words_if_any(o.preset), point.config, point.distribution, o, o.source};
}

RecordedEnvironment recorded_environment(const Environment& e) {
  const Topology& t = e.topology;
  return {.build = build_identity(e),
          .compiler = e.compiler,
          .flags = e.flags,
          .cpu = t.cpu_model,
          .caches = {t.l1d_bytes, t.l2_bytes, t.l3_bytes, t.num_l3},
          .cores = t.num_cores,
          .mpi = words_if_any(e.mpi),
          .kernel = e.kernel,
          .system = e.system,
          .host = words_if_any(e.host),
          .load_average = figure_if(e.load_average >= 0, e.load_average)};
}

namespace {

// Returns the command line that measures this point again. If the command had several points, or has them
// without its filter, the line has the filter that leaves only this one.
std::string repro_of(const BenchOptions& options, const CommandResult& command, const Point& point) {
  const bool is_only = command.points.size() == 1 && options.filter.empty();
  if (options.repro.empty() || command.command != "bench" || is_only) return options.repro;
  std::string expression;
  for (const char c : point.label) {
    if (std::strchr(".^$|()[]{}*+?\\", c) != nullptr) expression += '\\';
    expression += c;
  }
  return options.repro + " --filter " + shell_word("^" + expression + "$");
}

Record record_of(const BenchOptions& options, const CommandResult& command, const PointResult& result,
                 size_t seq) {
  Record record;
  record.command = command.command;
  record.path = result.point.path;
  record.time_utc = command.time_utc;
  record.process = {hex(command.process_id), command.started_s};
  record.seq = static_cast<int64_t>(seq);
  record.config = recorded_config(options, result.point);
  record.tuned = result.point.tuned;
  record.layout = layout_of(options, result, command.environment);
  record.timed_region = result.timed_region;
  record.caches = command.cache_state;
  record.time_s = times_of(result);
  const RunConfig& config = result.point.config;
  record.ablated = config.block.ablation.stages.in_common_with(stages_of_step(config)).names();
  add_throughput(record, result);
  record.peak = peak_of(result);
  record.stages = stages_of(result);
  record.runs = result.runs;
  record.load = result.load;
  record.balance = {result.expert_max_over_mean, result.device_max_over_mean};
  record.skew = result.skew;
  record.capacity = capacity_of(result);
  record.losses = result.losses;
  record.comm = traffic_of(result);
  if (const std::optional<Overlap>& o = result.overlap)
    record.overlap = {o->computation,   o->communication,   o->both,
                      o->hidden.median, o->hidden.interval, o->hidden.n};
  record.memory = {sum_of(command.predicted_bytes), sum_of(command.peak_rss_bytes), {}, {}};
  if (command.peak_rss_bytes.size() > 1) {
    record.memory.predicted_bytes_by_rank = command.predicted_bytes;
    record.memory.peak_rss_bytes_by_rank = command.peak_rss_bytes;
  }
  record.check = check_of(options, result);
  record.hash = {hex(result.plan_hash), hex(result.output_hash), "",
                 result.operands_hash,  result.results_hash,     result.other_results_hash};
  if (options.layer_weights != nullptr) {
    record.hash.weights = hex(options.layer_weights->hash());
    record.loading = loading_of(*options.layer_weights);
  }
  record.env = recorded_environment(command.environment);
  record.prediction = prediction_of(result, options.mesh == MeshKind::mpi);
  record.schedule = {command.stop_reason, command.order, command.num_repeated};
  record.repro = words_if_any(repro_of(options, command, result.point));
  return record;
}

RecordedAblation ablation_of(const Saving& saving, size_t of_seq) {
  return {.of_seq = static_cast<int64_t>(of_seq),
          .saves_s = saving.seconds.median,
          .interval = saving.seconds.interval,
          .n = saving.seconds.n,
          .clock_s = saving.clock,
          .share = saving.share};
}

}  // namespace

Record make_record(const BenchOptions& options, const CommandResult& command, size_t index) {
  return record_of(options, command, command.points[index], index);
}

std::vector<Record> make_records(const BenchOptions& options, const CommandResult& command) {
  std::vector<Record> records;
  for (size_t i = 0; i < command.points.size(); ++i) records.push_back(make_record(options, command, i));
  // Comparisons are kept with the point that is compared, not with its reference.
  for (const Comparison& c : compare_modes(command.points, options.seed))
    records[c.ep].comparison = comparison_of(c);
  for (const Comparison& c : compare_paths(command.points, options.seed))
    records[c.ep].comparisons.push_back(comparison_of(c, command.points[c.none].point.path));
  // Arms of --ablate follow all points, so that numbers of points in comparisons stay valid.
  for (size_t i = 0; i < command.points.size(); ++i) {
    const PointResult& whole = command.points[i];
    for (const PointResult& arm : whole.arms) {
      records.push_back(record_of(options, command, arm, records.size()));
      records.back().repro = records[i].repro;  // a filter chooses points, each with its arms
      if (const auto saving = saving_of(whole, arm)) records.back().ablation = ablation_of(*saving, i);
    }
  }
  return records;
}

}  // namespace moehill
