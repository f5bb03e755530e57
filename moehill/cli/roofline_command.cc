// `moehill roofline` says what bounds each stage of a step: compute, memory, links, imbalance or overhead. It
// does so for a shape that is given by options, or for records of runs, whose measured times then stand
// beside the bounds (moehill/model/roofline.h).
//
//     moehill bench --tokens 1024 --stage-timing --json run.jsonl
//     moehill roofline --record run.jsonl
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/cli/predict_options.h"
#include "moehill/measure/recorded_step.h"
#include "moehill/model/roofline.h"
#include "moehill/model/shared_cores.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/predict/advice.h"

namespace moehill {
namespace {

// RooflineOptions is what the command line fills.
struct RooflineOptions {
  PredictOptions point;
  std::string record;
  double time_s = 0, comm_s = 0;
};

// Throws InputError for measured seconds that belong to no single step, or that contradict each other.
void refuse_useless_times(const RooflineOptions& o) {
  const std::vector<ParallelMode>& modes = o.point.bench.modes;
  if ((o.time_s > 0 || o.comm_s > 0) && modes.size() > 1)
    throw usage_error("--time-s and --comm-s cannot be used with --parallel-mode both, which is two steps",
                      "look at none and ep one by one");
  if (o.comm_s > 0 && modes.front() == ParallelMode::none)
    throw usage_error("--comm-s needs --parallel-mode ep or dp", "add one of these or leave it out");
  if (o.comm_s > o.time_s && o.time_s > 0)
    throw input_error("--comm-s", fmt::format("{:g}", o.comm_s),
                      fmt::format("at most --time-s, {:g}", o.time_s), "give the part of the step");
}

bool parse_roofline_options(const std::vector<std::string>& args, RooflineOptions& o) {
  OptionSet set("moehill roofline",
                "Says what bounds each stage of a step: compute, memory, links, imbalance or overhead.",
                {"moehill roofline --preset olmoe-1b-7b --tokens 2048 --hardware h100-node",
                 "moehill roofline --preset qwen1.5-moe-a2.7b --tokens 32768 --hardware tpu-v5p "
                 "--time-s 0.05",
                 "moehill roofline --tokens 1024 --hardware epyc-cluster --parallel-mode ep --json -"});
  declare_point(set, o.point);
  declare_nodes(set, &o.point.nodes);
  set.input("--record", &o.record, "FILE",
            "records of moehill bench --json, best with --stage-timing; - is standard input");
  set.number("--time-s", &o.time_s, 0, 1e6, "measured seconds of the step; 0: not known");
  set.number("--comm-s", &o.comm_s, 0, 1e6, "measured seconds of communication in the step; 0: not known");
  set.output("--json", &o.point.json, "FILE",
             "one line a step; - is standard output, the table then goes to standard error");
  if (!set.parse(args)) return false;
  resolve_point(set, o.point);
  // A record names its own shape and spread, so options for these would have no effect.
  if (!o.record.empty()) {
    for (const std::string& name : set.names()) {
      const bool used = name == "--record" || name == "--hardware" || name == "--probe" || name == "--json";
      if (!used && set.given(name))
        throw usage_error(
            fmt::format("{} cannot be used with --record, whose steps have a shape already", name),
            "leave it out");
    }
  }
  refuse_seed_of_trace(set, o.point.bench.distributions.front());
  refuse_useless_times(o);
  return true;
}

// Returns one step for each mode that was asked for, as if it had been recorded.
std::vector<RecordedStep> steps_of_options(const RooflineOptions& o, const Hardware& hardware) {
  std::vector<RecordedStep> steps;
  for (const ParallelMode mode : o.point.bench.modes) {
    RecordedStep step;
    step.config = predicted_config(o.point, hardware, mode);
    step.routing = predicted_routing(o.point, step.config.shape, hardware);
    if (mode == ParallelMode::ep && !o.point.bench.ep_path)
      step.config.spread = rank_paths(step.config, step.routing, hardware).front().path;
    step.label = fmt::format("{} {}", to_string(step.config.shape), name_of(step.config.spread));
    step.distribution = to_string(o.point.bench.distributions.front());
    step.seed = o.point.bench.seed;
    step.time_s = o.time_s;
    step.comm_s = o.comm_s;
    steps.push_back(step);
  }
  return steps;
}

std::string stage_table(const Roofline& r) {
  std::vector<std::vector<std::string>> rows;
  const auto ms = [](double s) { return fmt::format("{:.3f}", 1e3 * s); };
  const auto add = [&](const StageBound& b) {
    const bool known = b.measured_s > 0;
    rows.push_back({b.stage, fmt::format("{:.3f}", b.flops / 1e9),
                    fmt::format("{:.2f}", b.memory_bytes / 1e6), fmt::format("{:.2f}", b.link_bytes / 1e6),
                    fmt::format("{:.1f}", b.intensity()), name_of(b.bound), ms(b.bound_s),
                    known ? ms(b.measured_s) : "-", known ? fmt::format("{:.2f}", b.achieved()) : "-"});
  };
  for (const StageBound& b : r.stages) add(b);
  add(r.total);
  return format_table({"stage", "GFLOP", "memory MB", "link MB", "FLOP/B", "bound by", "ms at bound",
                       "ms measured", "achieved"},
                      rows);
}

// BusiestLink is the link that limits the bytes of the busiest device: its own link to the other devices of
// its node or, between nodes, its share of its node's connection.
struct BusiestLink {
  BusiestLink(const Roofline& r, const Hardware& h, int num_devices) {
    const ClusterTopology& topology = h.topology;
    const bool far = num_devices > topology.devices_per_node && topology.levels.size() > 1;
    const LinkLevel& level = topology.levels[far ? 1 : 0];
    bytes = far ? r.network_bytes : r.sent_bytes;
    bytes_per_s = level.bytes_per_s / (far ? topology.devices_per_node : 1);
    constexpr double kMiB = 1 << 20;
    if (far) between = fmt::format(", {:.1f} MiB between nodes", bytes / kMiB);
    if (far) name = fmt::format(", its share of {},", level.name);
  }
  double seconds() const { return bytes / bytes_per_s; }

  double bytes = 0, bytes_per_s = 0;
  std::string between, name;  // in words; empty within a node
};

// Returns the bytes of communication, counted in two ways: as the reference logbook counts them (tensor
// size), and by the plan, which gives the bytes that the busiest device really sends.
std::string communication_lines(const RecordedStep& step, const Roofline& r, const Hardware& h) {
  const RunConfig& c = step.config;
  if (c.num_devices == 1) return "";
  const bool backward = c.block.pass == Pass::forward_backward;
  const LogbookCommunication l =
      logbook_communication(c.shape.tokens, c.shape.hidden, c.shape.dtype, c.num_devices, backward);
  constexpr double kMiB = 1 << 20;
  std::string text = fmt::format(
      "as the logbook counts: tensor {:.0f} MiB, ring all-reduce {:.0f} MiB a device, step {:.0f} MiB",
      l.tensor_bytes / kMiB, l.all_reduce_bytes / kMiB, l.step_bytes / kMiB);
  if (step.time_s > 0)
    text += fmt::format(", over the whole step {:.1f} GB/s", l.implied_bytes_per_s(step.time_s) / 1e9);
  const double comm_s = step.comm_s > 0 ? step.comm_s : r.communication_s;
  const BusiestLink link(r, h, c.num_devices);
  text += fmt::format(
      "\nby the plan of {}: the busiest device sends {:.1f} MiB{}; at {:.1f} GB/s each way{} that takes "
      "{:.3f} ms",
      name_of(c.spread), r.sent_bytes / kMiB, link.between, link.bytes_per_s / 1e9, link.name,
      1e3 * link.seconds());
  if (comm_s > 0)
    text += fmt::format("; over the {:.3f} ms in communication {:.2f} GB/s", 1e3 * comm_s,
                        r.sent_bytes / comm_s / 1e9);
  // Without seconds of communication the line can only give a bound: bytes over the whole step are no
  // bandwidth.
  else if (step.time_s > 0)
    text +=
        fmt::format(", {:.1f} % of the step: the bandwidth over the whole step is no property of the links",
                    100 * link.seconds() / step.time_s);
  return text + "\n";
}

// Returns the answer in one sentence: how fast the step can be, what bounds it, and how near it came.
std::string bound_sentence(const Roofline& r) {
  std::string text =
      fmt::format("At least {:.3f} ms, bound by {}", 1e3 * r.total.bound_s, name_of(r.total.bound));
  const auto longest =
      std::max_element(r.stages.begin(), r.stages.end(),
                       [](const StageBound& a, const StageBound& b) { return a.bound_s < b.bound_s; });
  if (longest != r.stages.end())
    text += fmt::format("; the longest stage is {}, {:.3f} ms, bound by {}", longest->stage,
                        1e3 * longest->bound_s, name_of(longest->bound));
  if (r.total.measured_s > 0)
    text += fmt::format("; measured {:.3f} ms, so the step reaches {:.0f} % of its bound",
                        1e3 * r.total.measured_s, 100 * r.total.achieved());
  return text + ".\n";
}

// Returns what the bounds rest on, and what says more.
std::string roofline_closing(const RooflineOptions& o, const Hardware& h) {
  if (!o.record.empty())
    return fmt::format(
        "How sure this is:\nPeak and bandwidth are those that each record measured beside its step, where it "
        "has them. The links are those of {}.\nNext: moehill climb looks for a faster configuration.\n",
        h.name);
  const bool is_timed = o.time_s > 0 || o.comm_s > 0;
  const std::string sure =
      fmt::format("How sure this is:\n{}: the bounds are of the figures of {}.\n",
                  is_timed ? "The measured times are those of the command line" : "Nothing ran", h.name);
  if (h.is_chip()) return sure;  // bench does not run on chips
  const std::string& hardware = o.point.hardware;
  std::string named = hardware == "probe" ? "" : fmt::format(" --hardware {}", shell_word(hardware));
  if (o.point.probe != default_probe_file()) named += fmt::format(" --probe {}", shell_word(o.point.probe));
  return sure +
         fmt::format(
             "Next: moehill bench --stage-timing --json FILE, with the other options of this step, then "
             "moehill roofline{} --record FILE says how near each stage comes.\n",
             named);
}

Json to_json(const StageBound& b) {
  return {{"stage", b.stage},
          {"flops", b.flops},
          {"memory_bytes", b.memory_bytes},
          {"link_bytes", b.link_bytes},
          {"intensity", b.intensity()},
          {"bound", name_of(b.bound)},
          {"bound_s", b.bound_s},
          {"measured_s", b.measured_s > 0 ? Json(b.measured_s) : Json(nullptr)},
          {"achieved", b.measured_s > 0 ? Json(b.achieved()) : Json(nullptr)}};
}

// Replaces the hardware's peak and bandwidth by figures that were measured beside the step, on the same
// machine at the same time.
void use_measured(const RecordedStep& step, double all_units, Hardware& h) {
  if (step.peak_flops > 0) {
    h.peak_f32 = h.peak_bf16 = step.peak_flops / all_units;
    h.f32_instruction = h.bf16_instruction = step.instruction;
  }
  if (step.read_bytes_per_s > 0) {
    // All units read at once, and one unit is taken to read its share. The hardware's own rate of a unit that
    // reads alone may be lower, if this machine is faster.
    h.node_memory_bytes_per_s = step.read_bytes_per_s;
    h.memory_bytes_per_s = step.read_bytes_per_s * step.nodes / all_units;
  }
}

}  // namespace

int roofline_command(const std::vector<std::string>& args) {
  RooflineOptions options;
  if (!parse_roofline_options(args, options)) return kExitDone;
  const std::string& json = options.point.json;
  require_writable_json(json);
  const ChosenHardware chosen = choose_hardware(options.point);
  const std::vector<RecordedStep> steps =
      options.record.empty() ? steps_of_options(options, chosen.hardware) : steps_of_records(options.record);
  std::string text = chosen.note.empty() ? "" : chosen.note + "\n", lines;
  for (const RecordedStep& step : steps) {
    // Each step may bring figures of its own, so the hardware is copied.
    const int units = step.config.threads_per_device;
    if (!options.record.empty()) require_its_nodes(step, chosen.hardware);
    Hardware h = with_shared_cores(chosen.hardware, step.config.num_devices, units);
    const double all_units = static_cast<double>(units) * step.config.num_devices;
    use_measured(step, all_units, h);
    const DType dtype = step.config.shape.dtype;
    // Exact counts of the plan give the work and the bytes of each stage.
    const PlanCounts counts = plan_counts(step.config, step.routing);
    const Roofline r =
        roofline(placed_problem(step.config, h, step.memory), counts, h, units, step.stages, step.time_s);
    // The label of a record names its pass already.
    const std::string pass =
        options.record.empty() ? fmt::format(", {}", name_of(step.config.block.pass)) : "";
    text += fmt::format("{}{}, {} on {}, {}\n{}{}{}{}\n", step.label, pass, printable(step.distribution),
                        h.name, layout_text(h, step.config.num_devices, units), bound_sentence(r),
                        peak_line(h, dtype), stage_table(r), communication_lines(step, r, h));
    Json stages = Json::array();
    for (const StageBound& b : r.stages) stages.push_back(to_json(b));
    lines += json_line({{"schema", "moehill/1"},
                        {"command", "roofline"},
                        {"hardware", h.name},
                        {"label", step.label},
                        {"bench_pass", name_of(step.config.block.pass)},
                        {"distribution", step.distribution},
                        {"seed", step.seed},
                        {"impl", name_of(step.config.block.impl)},
                        {"backend", name_of(step.config.block.backend)},
                        {"wire", name_of(step.config.wire)},
                        {"nodes", nodes_of(h, step.config.num_devices)},
                        {"devices", step.config.num_devices},
                        {"units_per_device", units},
                        {"peak_flops", h.peak(dtype)},
                        {"peak_instruction", h.instruction(dtype)},
                        {"stages", stages},
                        {"total", to_json(r.total)},
                        {"sent_bytes", r.sent_bytes}});
  }
  show(text + roofline_closing(options, chosen.hardware), table_stream(json));
  write_json_lines(json, lines);
  return kExitDone;
}

}  // namespace moehill
