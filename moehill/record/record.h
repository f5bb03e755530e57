// Record is what a run tells of one point, in the order and under the names of schema `moehill/1`
// (docs/metrics.md). What was asked for is one part of it, in recorded_config.h.
// measure/make_record.h fills it. Files and databases hold its JSON, and code that reads a record reads this
// struct. It computes nothing. A value that does not exist (the check failed, nothing was timed) is null in
// JSON and never NaN.
// Each part has `fields(self, visit)`, which names every member once. json_of() and read_fields()
// (base/json_fields.h) use it to write and read JSON. A field with `.present = false` is left out of the
// JSON.
//
//     Record record;
//     record.time_s.median = 0.0125;                                       // seconds
//     file << record_line(record);                                         // one line of JSON
//     part_of<RecordedTimes>(Json::parse(line), "time_s").median;          // 0.0125 again
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/json_fields.h"
#include "moehill/bench/statistics.h"
#include "moehill/moe/check.h"
#include "moehill/record/recorded_config.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/statistics.h"

namespace moehill {

// Figure is a number that may be missing.
using Figure = std::optional<double>;

// RecordedProcess names the process that measured. Records of one process share the state of the machine
// (bench/comparison.h).
struct RecordedProcess {
  std::string id;
  double started_s = 0;  // Unix time

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "id", self.id, "started_s", self.started_s);
  }
};

// RecordedLayout is where the threads ran.
struct RecordedLayout {
  int devices = 1, threads_per_device = 1, cores = 1;
  MeshKind mesh = MeshKind::automatic;
  int nodes = 1;
  // The node of each process of the job, if the nodes are irregular (mesh/nodes.h). Otherwise empty and left
  // out.
  std::vector<int> node_of;
  // Both are [device][thread], read back from the system; none if the threads are not pinned.
  std::optional<std::vector<std::vector<int>>> cpus, numa;
  // For each device, the share of its experts' pages that lie on another memory node.
  std::optional<std::vector<double>> remote_share;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "devices", self.devices, "threads_per_device", self.threads_per_device, "cores",
              self.cores, "mesh", self.mesh, "nodes", self.nodes);
    visit(Field{.name = "node_of", .present = !self.node_of.empty()}, self.node_of);
    visit_all(visit, "cpus", self.cpus, "numa", self.numa, "remote_share", self.remote_share);
  }
};

// RecordedInterval is an interval of confidence, as `ci_lo`, `ci_hi` and `coverage` of the object around it.
struct RecordedInterval {
  Figure lo, hi, coverage;

  RecordedInterval() = default;
  RecordedInterval(const std::optional<Interval>& interval) {
    if (interval) lo = interval->lo, hi = interval->hi, coverage = interval->coverage;
  }
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "ci_lo", self.lo, "ci_hi", self.hi, "coverage", self.coverage);
  }
};

// RecordedTimes holds the seconds of a step: the median with its interval, and every sample, so that a later
// reader can use other statistics.
struct RecordedTimes {
  Figure median;
  RecordedInterval interval;
  Figure min, max;
  int64_t n = 0;
  std::vector<double> samples;  // by round
  std::vector<double> cpu_s;    // CPU seconds of a step, by process

  // Returns the CPU seconds of all processes together; none if none are recorded.
  Figure all_cpu_s() const {
    Figure sum;
    for (const double seconds : cpu_s) sum = sum.value_or(0) + seconds;
    return sum;
  }
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"median"}, self.median);
    RecordedInterval::fields(self.interval, visit);
    visit_all(visit, "min", self.min, "max", self.max, "n", self.n, "samples", self.samples, "cpu_s",
              self.cpu_s);
  }
};

// RecordedBandwidth is the bandwidth of reading memory beyond the caches.
struct RecordedBandwidth {
  Figure median, min, max;  // GB/s of the passes

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "median", self.median, "min", self.min, "max", self.max);
  }
};
// Records before 2026-11-28 hold one number here.
inline void take_json(const char*, const Json& json, RecordedBandwidth& value) {
  if (json.is_null()) return;
  if (json.is_number()) {
    value.median = json.get<double>();
  } else {
    read_fields(json, value);
  }
}

// RecordedPeak is the most that the cores can do, in TF/s, measured in the same job: first for the point's
// own type, then for both types. `fraction` is the step's throughput over `tflops_measured`.
struct RecordedPeak {
  DType dtype = DType::bf16;
  Words instruction;
  Figure tflops_measured, tflops_typical, fraction, tflops_f32, tflops_bf16;
  Words instruction_f32, instruction_bf16;
  RecordedBandwidth read_gbps;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "dtype", self.dtype, "instruction", self.instruction, "tflops_measured",
              self.tflops_measured, "tflops_typical", self.tflops_typical, "fraction", self.fraction,
              "tflops_f32", self.tflops_f32, "tflops_bf16", self.tflops_bf16, "instruction_f32",
              self.instruction_f32, "instruction_bf16", self.instruction_bf16, "read_gbps", self.read_gbps);
  }
};

// RecordedStages tells how the time of a step was spent. The seconds by stage are those of the slowest
// device.
struct RecordedStages {
  // Device is the time in which one device worked, and in which it waited for others.
  struct Device {
    double busy_s = 0, wait_s = 0;

    template <typename Self, typename Visit>
    static void fields(Self& self, Visit&& visit) {
      visit_all(visit, "busy_s", self.busy_s, "wait_s", self.wait_s);
    }
  };
  // Wait is the time in which one device waited, and what the device that it waited for was doing.
  struct Wait {
    std::string stage;  // of the device that waits
    int64_t device = 0, other = 0;
    std::string busy_in;  // the stage of the other
    double wait_s = 0;

    template <typename Self, typename Visit>
    static void fields(Self& self, Visit&& visit) {
      visit_all(visit, "stage", self.stage, "device", self.device, "for", self.other, "busy_in", self.busy_in,
                "wait_s", self.wait_s);
    }
  };
  NamedNumbers forward, backward;          // seconds by stage
  std::optional<NamedNumbers> hand_overs;  // of the slowest device's team, by stage
  Figure unaccounted_s;
  std::optional<bool> too_much_unaccounted;
  // The rest is absent unless stages were timed (--stage-timing).
  Figure step_s;
  std::optional<std::vector<Device>> devices;
  std::optional<int64_t> slowest_device;
  Figure busy_max_over_mean;
  std::vector<Wait> waits;  // of devices for each other, the largest first
  std::string waited_for;   // names the one that was waited for most

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    const auto timed = [](const char* name, const auto& value) {
      return Field{.name = name, .present = value.has_value()};
    };
    visit_all(visit, "forward", self.forward, "backward", self.backward, "unaccounted_s", self.unaccounted_s,
              "too_much_unaccounted", self.too_much_unaccounted);
    visit(timed("hand_overs", self.hand_overs), self.hand_overs);
    visit(timed("step_s", self.step_s), self.step_s);
    visit(timed("devices", self.devices), self.devices);
    visit(timed("slowest_device", self.slowest_device), self.slowest_device);
    visit(timed("busy_max_over_mean", self.busy_max_over_mean), self.busy_max_over_mean);
    visit(Field{.name = "waits", .present = !self.waits.empty()}, self.waits);
    visit(Field{.name = "waited_for", .present = !self.waited_for.empty()}, self.waited_for);
  }
};

// RecordedBalance tells how unevenly the routing loads experts and devices: the largest load over the mean.
struct RecordedBalance {
  double expert_max_over_mean = 0, device_max_over_mean = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "expert_max_over_mean", self.expert_max_over_mean, "device_max_over_mean",
              self.device_max_over_mean);
  }
};

// RecordedCapacity is what the capacity limit did to the assignments (routing/capacity.h).
struct RecordedCapacity {
  CapacityPolicy policy = CapacityPolicy::none;
  Figure factor;
  std::optional<int64_t> cap;  // rows of an expert at most
  int64_t num_dropped = 0;
  double drop_fraction = 0;
  int64_t num_spilled = 0;                                // assignments moved to the token's next choice
  int64_t num_unassigned = 0;                             // assignments of a trace that name no expert
  int64_t num_zero = 0;                                   // assignments to experts that compute nothing
  Figure recv_factor, assign_factor, recv_buffer_factor;  // of expert parallelism only

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "policy", self.policy, "factor", self.factor, "cap", self.cap, "num_dropped",
              self.num_dropped, "drop_fraction", self.drop_fraction);
    visit(Field{.name = "num_spilled", .present = self.num_spilled > 0}, self.num_spilled);
    visit(Field{.name = "recv_factor", .present = self.recv_factor.has_value()}, self.recv_factor);
    visit(Field{.name = "assign_factor", .present = self.assign_factor.has_value()}, self.assign_factor);
    visit(Field{.name = "recv_buffer_factor", .present = self.recv_buffer_factor.has_value()},
          self.recv_buffer_factor);
    visit(Field{.name = "num_unassigned", .present = self.num_unassigned > 0}, self.num_unassigned);
    visit(Field{.name = "num_zero", .present = self.num_zero > 0}, self.num_zero);
  }
};

// RecordedLogicalBytes are the bytes of rows as if each row went from its token's device to each device that
// needs it, and back; within nodes and between them.
struct RecordedLogicalBytes {
  int64_t node = 0, network = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "node", self.node, "network", self.network);
  }
};
// RecordedLinkBytes are the bytes of everything that is sent, by device, within nodes and between them.
struct RecordedLinkBytes {
  std::vector<uint64_t> node, network;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "node", self.node, "network", self.network);
  }
};

// RecordedTraffic is what the devices sent each other in a step.
struct RecordedTraffic {
  std::vector<uint64_t> sent_bytes, received_bytes;  // by device
  uint64_t dispatch_bytes = 0, combine_bytes = 0, gradient_bytes = 0, metadata_bytes = 0;
  // The fewest bytes with which any path could do this routing.
  int64_t lower_bound_bytes = 0;
  // Seconds in which messages were under way, by device.
  std::vector<double> flight_s;
  // Calls that only moved messages along, by device.
  std::vector<int64_t> progress_calls;
  RecordedLogicalBytes logical_bytes;
  RecordedLinkBytes link_bytes;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "sent_bytes", self.sent_bytes, "received_bytes", self.received_bytes, "dispatch_bytes",
              self.dispatch_bytes, "combine_bytes", self.combine_bytes, "gradient_bytes", self.gradient_bytes,
              "metadata_bytes", self.metadata_bytes, "lower_bound_bytes", self.lower_bound_bytes, "flight_s",
              self.flight_s, "progress_calls", self.progress_calls, "logical_bytes", self.logical_bytes,
              "link_bytes", self.link_bytes);
  }
};

// RecordedOverlap tells how much of the communication runs behind computation: `hidden` is that share.
struct RecordedOverlap {
  double computation_s = 0, communication_s = 0, both_s = 0, hidden = 0;
  RecordedInterval interval;
  int64_t n = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "computation_s", self.computation_s, "communication_s", self.communication_s, "both_s",
              self.both_s, "hidden", self.hidden);
    RecordedInterval::fields(self.interval, visit);
    visit(Field{"n"}, self.n);
  }
};

// RecordedAblation is the time that a step saves if stages are left out. The whole step is point number
// `of_seq` of the same rounds. `clock_s` is what the stage clock gives for the same stages; the two differ
// where stages overlap.
struct RecordedAblation {
  int64_t of_seq = 0;
  double saves_s = 0;  // median over the rounds
  RecordedInterval interval;
  int64_t n = 0;
  Figure clock_s;    // of these stages, on the slowest device of the whole step
  double share = 0;  // saves_s over the whole step's median

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "of_seq", self.of_seq, "saves_s", self.saves_s);
    RecordedInterval::fields(self.interval, visit);
    visit_all(visit, "n", self.n, "clock_s", self.clock_s, "share", self.share);
  }
};

// RecordedMemory compares the predicted memory with the peak that the processes held, in bytes.
struct RecordedMemory {
  double predicted_bytes = 0, peak_rss_bytes = 0;  // of all processes together
  // These are there if the job has several processes.
  std::vector<double> predicted_bytes_by_rank, peak_rss_bytes_by_rank;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "predicted_bytes", self.predicted_bytes, "peak_rss_bytes", self.peak_rss_bytes);
    const bool several = !self.peak_rss_bytes_by_rank.empty();
    visit(Field{.name = "predicted_bytes_by_rank", .present = several}, self.predicted_bytes_by_rank);
    visit(Field{.name = "peak_rss_bytes_by_rank", .present = several}, self.peak_rss_bytes_by_rank);
  }
};

// RecordedWireError tells how rounding the rows that travel between nodes changes the results: the relative
// error over tokens that the check's seed draws.
struct RecordedWireError {
  int64_t tokens = 0;
  double y_max = 0, y_rms = 0;
  Figure dx_max, dx_rms;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "tokens", self.tokens, "y_max", self.y_max, "y_rms", self.y_rms, "dx_max", self.dx_max,
              "dx_rms", self.dx_rms);
  }
};

// RecordedCheck is the verdict of the correctness check (moe/check.h), its errors and how they were found. A
// record whose check failed has no throughput.
struct RecordedCheck {
  CheckStatus status = CheckStatus::off;
  Figure forward_rel_err;
  NamedNumbers grad_rel_err;
  Words worst_row, reason;
  CheckMode mode = CheckMode::sample;
  Words what;
  std::optional<int64_t> rows, sampled_rows;
  Words how, timed_steps;
  std::optional<uint32_t> seed;
  Figure time_s, worst_bounds;
  Words worst_number;
  // The process that checked a result with the same bits (bench --checked); left out if this process did.
  Words same_bits_as;
  // This is there if rows travel between nodes in another type than the type of the computation.
  std::optional<RecordedWireError> wire_error;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "status", self.status, "forward_rel_err", self.forward_rel_err, "grad_rel_err",
              self.grad_rel_err, "worst_row", self.worst_row, "reason", self.reason, "mode", self.mode,
              "what", self.what, "rows", self.rows, "sampled_rows", self.sampled_rows, "how", self.how,
              "timed_steps", self.timed_steps, "seed", self.seed, "time_s", self.time_s, "worst_bounds",
              self.worst_bounds, "worst_number", self.worst_number);
    visit(Field{.name = "same_bits_as", .present = self.same_bits_as.has_value()}, self.same_bits_as);
    visit(Field{.name = "wire_error", .present = self.wire_error.has_value()}, self.wire_error);
  }
};

// RecordedHashes identify the routing plan and the output, so that a reader can see that two records computed
// the same thing.
struct RecordedHashes {
  std::string plan, output;
  std::string weights;  // of a model's files; otherwise empty and left out
  // These are of all bits of the operands, of the results of the checked step, and of those of the step on
  // other operands. They are empty and left out for a step that was not checked.
  std::string operands, results, other_results;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "plan", self.plan, "output", self.output);
    visit(Field{.name = "weights", .present = !self.weights.empty()}, self.weights);
    visit(Field{.name = "operands", .present = !self.operands.empty()}, self.operands);
    visit(Field{.name = "results", .present = !self.results.empty()}, self.results);
    visit(Field{.name = "other_results", .present = !self.other_results.empty()}, self.other_results);
  }
};

// RecordedLoading is what the first process read of a model's files, and how fast.
struct RecordedLoading {
  int64_t layer = 0;
  std::string tensors;  // of the gate matrices: "model.layers.0.mlp.experts.*.gate_proj.weight"
  std::string encoding;
  std::vector<std::string> unused;  // tensors of the block that the step has no place for
  double bytes = 0, time_s = 0, gbps = 0;
  double rounding = 0;  // the largest error of rounding to the run's type, as a share of a value

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "layer", self.layer, "tensors", self.tensors, "encoding", self.encoding, "unused",
              self.unused, "bytes", self.bytes, "time_s", self.time_s, "gbps", self.gbps, "rounding",
              self.rounding);
  }
};

// RecordedEnvironment is the machine and the build (quiet/environment.h).
struct RecordedEnvironment {
  struct Caches {
    int64_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0, num_l3 = 0;

    template <typename Self, typename Visit>
    static void fields(Self& self, Visit&& visit) {
      visit_all(visit, "l1d_bytes", self.l1d_bytes, "l2_bytes", self.l2_bytes, "l3_bytes", self.l3_bytes,
                "num_l3", self.num_l3);
    }
  };
  std::string build, compiler, flags, cpu;
  Caches caches;
  int cores = 1;
  Words mpi;
  std::string kernel, system;
  Words host;
  Figure load_average;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "build", self.build, "compiler", self.compiler, "flags", self.flags, "cpu", self.cpu,
              "caches", self.caches, "cores", self.cores, "mpi", self.mpi, "kernel", self.kernel, "system",
              self.system, "host", self.host, "load_average", self.load_average);
  }
};

// RecordedPrediction is what the model said of this point before it ran (model/predict.h).
struct RecordedPrediction {
  double time_s = 0;
  NamedNumbers stages;  // seconds
  double memory_bytes = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "time_s", self.time_s, "stages", self.stages, "memory_bytes", self.memory_bytes);
  }
};

// RecordedSchedule is how the rounds went (bench/schedule.h).
struct RecordedSchedule {
  std::string stop_reason;
  std::vector<std::vector<int>> order;  // [round] the points as they were run
  // The number of rounds that were run again because a process was held up in them.
  int64_t repeated = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "stop_reason", self.stop_reason, "order", self.order, "repeated", self.repeated);
  }
};

// RecordedComparison compares this point with another one of the same rounds; `ratio` is the other point's
// time over this point's time.
struct RecordedComparison {
  int64_t with_seq = 0;
  double ratio = 0;
  RecordedInterval interval;
  int64_t n = 0;
  Verdict verdict = Verdict::cannot_tell;
  ProfilePath with_path = ProfilePath::none;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "with_seq", self.with_seq, "ratio", self.ratio);
    RecordedInterval::fields(self.interval, visit);
    visit_all(visit, "n", self.n, "verdict", self.verdict);
    visit(Field{.name = "with_path", .present = self.with_path != ProfilePath::none}, self.with_path);
  }
};

// Record puts the parts together. docs/metrics.md defines each field.
struct Record {
  std::string schema = "moehill/1", command;
  ProfilePath path = ProfilePath::none;
  std::string time_utc;
  RecordedProcess process;
  int64_t seq = 0;
  RecordedConfig config;
  Tuned tuned = Tuned::off;
  RecordedLayout layout;
  std::vector<std::string> timed_region;
  std::string caches;
  RecordedTimes time_s;
  // The stages that the step left out. If there are any, the record is no result.
  std::vector<std::string> ablated;
  std::optional<RecordedAblation> ablation;
  Figure tflops, tflops_executed, tflops_per_device, tokens_per_s, drop_adjusted_tokens_per_s;
  RecordedPeak peak;
  RecordedStages stages;
  RunStatistics runs;
  LoadStatistics load;
  RecordedBalance balance;
  std::vector<SkewProperty> skew;
  RecordedCapacity capacity;
  NamedNumbers losses;  // with a balance loss; otherwise empty and left out
  RecordedTraffic comm;
  std::optional<RecordedOverlap> overlap;
  RecordedMemory memory;
  RecordedCheck check;
  RecordedHashes hash;
  std::optional<RecordedLoading> loading;  // with weights of a model
  RecordedEnvironment env;
  std::optional<RecordedPrediction> prediction;
  RecordedSchedule schedule;
  Words repro;                                   // a command line that measures this point again
  std::optional<RecordedComparison> comparison;  // of an ep point with its none point
  std::vector<RecordedComparison> comparisons;   // of `profile`: fused_ep with the other paths

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "schema", self.schema, "command", self.command);
    visit(Field{.name = "path", .present = self.path != ProfilePath::none}, self.path);
    visit_all(visit, "time_utc", self.time_utc, "process", self.process, "seq", self.seq, "config",
              self.config, "tuned", self.tuned, "layout", self.layout, "timed_region", self.timed_region,
              "caches", self.caches, "time_s", self.time_s);
    visit(Field{.name = "ablated", .present = !self.ablated.empty()}, self.ablated);
    visit(Field{.name = "ablation", .present = self.ablation.has_value()}, self.ablation);
    visit_all(visit, "tflops", self.tflops, "tflops_executed", self.tflops_executed, "tflops_per_device",
              self.tflops_per_device, "tokens_per_s", self.tokens_per_s, "drop_adjusted_tokens_per_s",
              self.drop_adjusted_tokens_per_s, "peak", self.peak, "stages", self.stages, "runs", self.runs,
              "load", self.load, "balance", self.balance, "skew", self.skew, "capacity", self.capacity);
    visit(Field{.name = "losses", .present = !self.losses.empty()}, self.losses);
    visit_all(visit, "comm", self.comm, "overlap", self.overlap, "memory", self.memory, "check", self.check,
              "hash", self.hash);
    visit(Field{.name = "loading", .present = self.loading.has_value()}, self.loading);
    visit_all(visit, "env", self.env, "prediction", self.prediction, "schedule", self.schedule, "repro",
              self.repro);
    visit(Field{.name = "comparison", .present = self.comparison.has_value()}, self.comparison);
    visit(Field{.name = "comparisons", .present = !self.comparisons.empty()}, self.comparisons);
  }
};

// Reads a part of a record. A part that is missing or has another form keeps its default, so that records of
// older versions stay readable.
template <typename Part>
Part part_from(const Json& json) {
  try {
    Part part{};
    take_json("", json, part);
    return part;
  } catch (const nlohmann::json::exception&) {
  } catch (const InputError&) {
  }
  return {};
}
template <typename Part>
Part part_of(const Json& record, const char* name) {
  const auto found = record.find(name);
  return found == record.end() ? Part{} : part_from<Part>(*found);
}

// True if the step left stages out (bench --ablate). Such a record is no result, whatever else it says.
inline bool is_ablated(const Json& record) {
  const auto says = [](const Json& part, const char* name) {
    const auto found = part.is_object() ? part.find(name) : part.end();
    return found != part.end() && !found->empty();
  };
  return says(record, "ablated") || says(record, "ablation") ||
         says(part_of<Json>(record, "config"), "ablate");
}

// Returns the status of a record's check; none if it has no check.
inline std::optional<CheckStatus> check_status_of(const Json& record) {
  return part_of<std::optional<CheckStatus>>(part_of<Json>(record, "check"), "status");
}

// Returns true if a check passed the results of this record, and if the record has the hashes by which a
// later run can see that its results have the same bits.
inline bool has_checked_bits(const Json& record) {
  const auto hashes = part_of<RecordedHashes>(record, "hash");
  return !is_ablated(record) && check_status_of(record) == CheckStatus::passed && !hashes.operands.empty() &&
         !hashes.results.empty() && !hashes.other_results.empty();
}

// Returns the TF/s of a record; none if it is no result. Only a whole step whose check has passed is one,
// whatever else the record says.
inline Figure tflops_of(const Json& record) {
  const bool is_result = !is_ablated(record) && check_status_of(record) == CheckStatus::passed;
  return is_result ? part_of<Figure>(record, "tflops") : Figure();
}

// Returns the record as one line of JSON with the line end. Bytes that are not UTF-8 are replaced.
std::string record_line(const Record& record);

}  // namespace moehill
