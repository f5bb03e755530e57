// Implementation of predict/advice.h: each way to spread the block is predicted, those that fit into memory
// are ranked by tokens/s, and the answer is a sentence, a table and commands to verify it.
#include "moehill/predict/advice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/measure/points.h"
#include "moehill/predict/simulate_options.h"
#include "moehill/simulation/engine.h"

namespace moehill {
namespace {

// Returns the bytes of a device's weights; its gradients have as many.
double weight_bytes(const AdviceQuestion& q, const AdviceLine& line) {
  const MoeShape& s = q.shape;
  const bool sharded = is_ep(line.spread);
  const int experts = sharded ? (s.experts + line.devices - 1) / line.devices : s.experts;
  return static_cast<double>(experts * s.expert_weights() + s.shared_weights() + s.latent_weights()) *
         static_cast<double>(dtype_bytes(s.dtype));
}

// Returns the seconds of adding up gradients between groups. The devices that have the same place in their
// groups have the same experts, so they add up gradients in a ring. All such rings work at the same time. A
// ring with devices on several nodes leaves each node once.
double gradient_seconds(const AdviceQuestion& q, const Hardware& h, const AdviceLine& line) {
  const double moved = 2.0 * (line.groups - 1) / line.groups * weight_bytes(q, line);  // by each device
  if (q.nodes == 1) return link_seconds(h, Collective::all_reduce, moved, line.groups, q.shape.dtype);
  const LinkLevel &inner = h.topology.levels[0], &outer = h.topology.levels[1];
  const int rings_of_node = std::min(line.devices, h.topology.devices_per_node);
  const double inside = line.groups > q.nodes ? moved / inner.bytes_per_s : 0;
  return 2 * std::ceil(std::log2(line.groups)) * outer.latency_s +
         std::max(inside, rings_of_node * moved / outer.bytes_per_s);
}

// Returns the hardware as one of several groups of a node has it: all groups read the node's memory at once.
Hardware of_one_group(Hardware h, const RunConfig& config) {
  const int per_node = h.topology.devices_per_node;
  const double of_node = static_cast<double>(h.units_per_device) * per_node,
               of_group =
                   static_cast<double>(config.threads_per_device) * std::min(config.num_devices, per_node);
  h.node_memory_bytes_per_s *= of_group / of_node;
  return h;
}

AdviceLine line_of(const AdviceQuestion& q, const Hardware& h, const RunConfig& config,
                   const Routing& routing, int groups) {
  AdviceLine line;
  line.spread = config.spread;
  line.groups = groups;
  line.devices = config.num_devices;
  line.units = config.threads_per_device;
  line.prediction = predict_run(config, routing, of_one_group(h, config));
  const int total = groups * line.devices;
  if (groups > 1 && q.pass == Pass::forward_backward) line.gradients_s = gradient_seconds(q, h, line);
  line.tokens_per_s = static_cast<double>(config.shape.tokens) * groups / line.step_s();
  line.rank_bytes = line.prediction.memory_bytes;
  // All devices of a node share its memory.
  line.node_bytes = line.rank_bytes * std::max(1, total / q.nodes);
  line.fits = h.memory_bytes == 0 || line.node_bytes <= h.memory_bytes;
  return line;
}

// Returns the numbers of devices that may share the experts: all nodes and halves of them, then a node's
// devices and halves of them down to two. So a group has whole nodes or lies in one node; a group that
// straddles nodes would be predicted at the cost of the links in a node.
std::vector<int> group_sizes(int nodes, int per_node, int experts) {
  std::vector<int> sizes;
  for (int n = nodes; n > 1; n /= 2) {
    sizes.push_back(n * per_node);
    if (n % 2 != 0) break;
  }
  for (int size = per_node; size > 1; size /= 2) {
    sizes.push_back(size);
    if (size % 2 != 0) break;
  }
  std::erase_if(sizes, [&](int size) { return size > experts; });
  return sizes;
}

std::string use_text(const AdviceLine& line, const Hardware& h) {
  const std::string layout = layout_text(h, line.devices, line.units), name = name_of(line.spread);
  if (line.groups == 1) return fmt::format("{} over {}", name, layout);
  return fmt::format("{} in {} {}, each over {}", name, line.groups,
                     line.spread == Spread::none ? "processes" : "groups", layout);
}

// The answer begins with yes or no; the reason follows.
std::string sentence(const Advice& advice, const Hardware& h, const std::string& error) {
  const AdviceLine *best = advice.best(), *base = advice.baseline();
  if (best == nullptr && base == nullptr)
    return "Neither: the block does not fit into the memory of these nodes; take more of them.";
  if (best == nullptr) {
    const bool has_ep = std::any_of(advice.lines.begin(), advice.lines.end(),
                                    [](const AdviceLine& line) { return is_ep(line.spread); });
    return fmt::format("No: {}; {} fits, with {} a rank.",
                       has_ep ? "expert parallelism does not fit into the memory on any path"
                              : "expert parallelism needs two devices and two experts at least",
                       use_text(*base, h), gib(base->rank_bytes));
  }
  const Binding binding = binding_of(*best);
  const std::string rest = fmt::format("The largest part of its step: {}, {:.0f} %. It takes {} a rank. {}",
                                       binding.what, 100 * binding.share, gib(best->rank_bytes), error);
  if (base == nullptr)
    return fmt::format(
        "Yes: there is no other way, since no process has memory for all experts; EP by {} is expected to "
        "give {:.0f} tokens/s. {}",
        use_text(*best, h), best->tokens_per_s, rest);
  const double gain = best->tokens_per_s / base->tokens_per_s;
  return fmt::format(
      "{}: EP by {} is expected to give {:.2f} times the tokens/s of the best without EP, {}. {}",
      gain > 1 ? "Yes" : "No", use_text(*best, h), gain, use_text(*base, h), rest);
}

std::string table(const Advice& advice, const Hardware& h) {
  std::vector<std::vector<std::string>> rows;
  const double first = advice.lines.front().tokens_per_s;
  for (const AdviceLine& line : advice.lines) {
    const Binding binding = binding_of(line);
    rows.push_back({name_of(line.spread), std::to_string(line.groups),
                    layout_text(h, line.devices, line.units), fmt::format("{:.3f}", 1e3 * line.step_s()),
                    fmt::format("{:.0f}", line.tokens_per_s),
                    fmt::format("{:.2f}", line.tokens_per_s / first),
                    fmt::format("{} {:.0f} %", binding.what, 100 * binding.share), gib(line.rank_bytes),
                    line.fits ? "yes" : fmt::format("no, {} a node", gib(line.node_bytes))});
  }
  return format_table(
      {"spread", "groups", "layout", "ms", "tokens/s", "of the first", "largest part", "a rank", "fits"},
      rows);
}

// Throws InputError if `bench` refuses such a run. `is_job`: each device is a process.
void refuse_as_bench_does(const MoeShape& shape, int devices, int units, bool is_job) {
  BenchOptions options;
  options.devices = devices;
  options.threads_per_device = units;
  options.mesh = is_job ? MeshKind::mpi : MeshKind::threads;
  resolve_layout(options, units);
  refuse_overflow(shape, {});
}

// Returns the command that measures the line, or why there is none.
std::string bench_line(const AdviceLine& line, const AdviceQuestion& q, const Hardware& h,
                       const std::string& mode) {
  const bool is_job = nodes_of(h, line.devices) > 1;
  MoeShape shape = q.shape;
  shape.tokens = q.tokens_per_device * q.nodes * h.topology.devices_per_node / line.groups;
  const std::string launcher =
      is_job ? fmt::format("mpirun -n {} --map-by ppr:{}:node ", line.devices, h.topology.devices_per_node)
             : "";
  // In bench, `none` takes the cores of all --devices, and a hot device is one of --devices.
  const bool is_none = line.spread == Spread::none;
  const int devices = is_none ? h.topology.devices_per_node : line.devices,
            units = is_none ? h.units_per_device : line.units;
  try {
    refuse_as_bench_does(shape, devices, units, is_job);
  } catch (const InputError& error) {
    return fmt::format("  bench has no such run of {}: {}\n", name_of(line.spread), error.what());
  }
  std::string text = fmt::format(
      "  {}moehill bench {} --tokens {} --bench-pass {}{} --threads-per-device {} --parallel-mode {} --json "
      "-\n",
      launcher, q.shape_options, shape.tokens, name_of(q.pass),
      is_job ? "" : fmt::format(" --devices {}", devices), units, mode);
  if (line.gradients_s > 0)
    text += fmt::format("    that is one of {} groups; {:.3f} ms of gradients between them come on top\n",
                        line.groups, 1e3 * line.gradients_s);
  return text;
}

// Returns the command that simulates the line, or why there is none.
std::string simulate_line(const AdviceLine& line, const AdviceQuestion& q, const Hardware& h,
                          const std::string& path) {
  if (line.devices > kMostSimulatedDevices)
    return fmt::format("  simulate has at most {} devices\n", kMostSimulatedDevices);
  try {
    require_simulator();
  } catch (const std::runtime_error& error) {  // this build has none, or its module is missing
    return fmt::format("  {}\n", error.what());
  }
  // `simulate` finds another probe by the environment, as all commands do.
  const std::string probe = q.probe.empty() ? "" : fmt::format("MOEHILL_PROBE={} ", shell_word(q.probe));
  return fmt::format(
      "  {}moehill simulate --hardware {} --devices {} {} --tokens-per-device {} --bench-pass {} {}\n", probe,
      q.hardware.empty() ? h.name : shell_word(q.hardware), line.devices, q.shape_options,
      q.tokens_per_device, name_of(q.pass), path);
}

// Returns commands with which the reader can verify the best line: a simulation, and measurements if the
// hardware is no chip.
std::string verification(const Advice& advice, const AdviceQuestion& q, const Hardware& h) {
  const AdviceLine *best = advice.best(), *base = advice.baseline();
  if (best == nullptr) return "";
  const bool is_far = best->devices > h.topology.devices_per_node && q.wire != Wire::native;
  const std::string path = fmt::format("--ep-path {}{}", name_of(best->spread),
                                       is_far ? fmt::format(" --wire {}", name_of(q.wire)) : "");
  std::string text = "to verify:\n" + simulate_line(*best, q, h, path);
  const int total = q.nodes * h.topology.devices_per_node;
  const bool of_less =
      best->devices < total || (base != nullptr && base->spread == Spread::none && q.nodes > 1);
  const std::string note =
      q.distribution.kind == Distribution::hot_device && of_less
          ? fmt::format(
                "  the table has one hot device of {}, a command one of its own: other experts are hot\n",
                total)
          : "";
  if (h.is_chip())
    return text + note +
           "  moehill itself computes on CPUs: on these chips, measure the same block by your own program\n";
  text += bench_line(*best, q, h, "ep " + path);
  if (base != nullptr) text += bench_line(*base, q, h, name_of(base->spread));
  return text + note;
}

}  // namespace

const AdviceLine* Advice::best() const {
  const auto found =
      std::find_if(lines.begin(), lines.end(), [](const AdviceLine& l) { return l.fits && is_ep(l.spread); });
  return found == lines.end() ? nullptr : &*found;
}

const AdviceLine* Advice::baseline() const {
  const auto found = std::find_if(lines.begin(), lines.end(),
                                  [](const AdviceLine& l) { return l.fits && !is_ep(l.spread); });
  return found == lines.end() ? nullptr : &*found;
}

int nodes_of(const Hardware& h, int devices) {
  if (!h.topology.has_network()) return 1;  // more devices share its cores
  return (devices + h.topology.devices_per_node - 1) / h.topology.devices_per_node;
}

std::string layout_text(const Hardware& h, int devices, int units) {
  const int nodes = nodes_of(h, devices);
  // Nodes are filled one after the other, so the last may have fewer devices.
  const int full = nodes == 1 ? devices : h.topology.devices_per_node;
  if (full * nodes != devices)
    return fmt::format("{} x {} on {}", count_text(devices, "device"), count_text(units, name_of(h.unit)),
                       count_text(nodes, "node"));
  return fmt::format("{} x {} x {}", count_text(nodes, "node"), count_text(full, "device"),
                     count_text(units, name_of(h.unit)));
}

Binding binding_of(const AdviceLine& line) {
  // These are the parts of a step, summed over its stages. The largest part binds.
  Binding parts[] = {{"products", 0}, {"rows", 0},
                     {"links", 0},    {"waiting for the fullest device", 0},
                     {"overhead", 0}, {"gradients between groups", line.gradients_s}};
  for (const StagePrediction& s : line.prediction.stages) {
    parts[0].share += s.gemm_s;
    parts[1].share += s.rows_s;
    parts[2].share += s.link_s - s.hidden_s;
    parts[3].share += s.wait_s;
    parts[4].share += s.overhead_s;
  }
  Binding most = *std::max_element(std::begin(parts), std::end(parts),
                                   [](const Binding& a, const Binding& b) { return a.share < b.share; });
  most.share /= line.step_s();
  return most;
}

Advice advise(const AdviceQuestion& q, const Hardware& h) {
  const int per_node = h.topology.devices_per_node, total = q.nodes * per_node;
  if (q.nodes > 1 && h.topology.levels.size() < 2)
    throw input_error("--nodes", std::to_string(q.nodes),
                      fmt::format("1 of {}, which has no network", h.name),
                      "name a cluster by --hardware, such as epyc-cluster");
  require_devices(h, total, q.nodes > 1);
  if (q.wire != Wire::native)
    refuse_unbuilt({.shape = q.shape,
                    .spread = Spread::ragged_a2a,
                    .ranks_per_node = per_node,
                    .wire = q.wire,
                    .num_devices = total});
  RunConfig config;
  config.shape = q.shape;
  config.shape.router = used_router(q.shape.router, q.distribution);
  config.block.pass = q.pass;
  Advice advice;
  // A group routes only its share of the tokens, so each number of tokens has a routing of its own.
  const auto add = [&](Spread spread, int devices, int units, int groups) {
    config.spread = spread;
    config.wire = Wire::native;
    config.num_devices = devices;
    config.ranks_per_node = devices > per_node ? per_node : 0;
    config.threads_per_device = units;
    config.shape.tokens = q.tokens_per_device * (total / groups);
    refuse_overflow(config.shape, {}, kMaxClusterElements);
    // All lines must compare the same load. So the experts of a hot device are the same in each line, as if
    // all devices shared the experts.
    DistributionOptions distribution = q.distribution;
    distribution.devices = total;
    refuse_impossible(distribution, config.shape.num_logits(), q.shape.topk,
                      config.shape.router.zero_experts);
    const Routing routing = routing_of(config.shape, distribution, q.seed);
    if (!is_ep(spread)) return advice.lines.push_back(line_of(q, h, config, routing, groups));
    if (config.ranks_per_node > 0) config.wire = q.wire;
    for (const Spread path : candidate_paths(config)) {
      config.spread = path;
      advice.lines.push_back(line_of(q, h, config, routing, groups));
    }
  };
  // The cores of a node can work as one device, which is `none`. Chips cannot. If each of several chips has
  // all experts, that is `dp`, so chips have a line of `none` only where there is no dp.
  const bool has_dp = total > 1 && q.shape.form.latent == 0;
  if (!h.is_chip())
    add(Spread::none, 1, h.units_per_device * per_node, q.nodes);
  else if (!has_dp)
    add(Spread::none, 1, h.units_per_device, total);
  if (has_dp) add(Spread::dp, total, h.units_per_device, 1);
  for (const int size : group_sizes(q.nodes, per_node, q.shape.experts))
    add(default_path(q.shape), size, h.units_per_device, total / size);
  std::stable_sort(advice.lines.begin(), advice.lines.end(), [](const AdviceLine& a, const AdviceLine& b) {
    return a.fits != b.fits ? a.fits : a.tokens_per_s > b.tokens_per_s;
  });
  return advice;
}

std::string advice_text(const Advice& advice, const AdviceQuestion& q, const Hardware& h,
                        const std::string& error) {
  MoeShape shape = q.shape;
  const int total = q.nodes * h.topology.devices_per_node;
  shape.tokens = q.tokens_per_device * total;
  const bool trains = q.pass == Pass::forward_backward;
  return fmt::format(
      "{}\n\n{} of one block, {}, {} a device, on {} of {}\n"
      "A group has all experts and its share of the tokens{}. Memory is that of this block, {}: no other "
      "layer{}.\n{}{}",
      sentence(advice, h, error), trains ? "A training step (forward_backward)" : "A forward pass",
      to_string(shape), count_text(q.tokens_per_device, "token"), layout_text(h, total, h.units_per_device),
      h.name, trains ? "; after the step groups add up their gradients, which nothing hides" : "",
      trains ? "weights, gradients and work space" : "weights and work space",
      trains ? ", no state of an optimizer" : "", table(advice, h), verification(advice, q, h));
}

}  // namespace moehill
