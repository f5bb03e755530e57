// Implementation of probe/probe_tables.h: tables that grow while the probe measures, and the summary at its
// end.
#include "moehill/probe/probe_tables.h"

#include <fmt/format.h>

#include "moehill/base/table.h"

namespace moehill {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows bandwidth_rows(const Probe& probe) {
  Rows rows;
  for (const ThreadBandwidth& b : probe.bandwidth)
    rows.push_back(
        {std::to_string(b.threads),
         fmt::format("{:.1f} ({:.1f} to {:.1f})", b.read.median / 1e9, b.read.min / 1e9, b.read.max / 1e9),
         fmt::format("{:.1f}", b.copy / 1e9)});
  return rows;
}

Rows numa_rows(const Probe& probe) {
  Rows rows;
  for (const NumaBandwidth& b : probe.numa)
    rows.push_back({std::to_string(b.cores), std::to_string(b.memory), fmt::format("{:.1f}", b.read / 1e9),
                    fmt::format("{:.1f}", b.copy / 1e9)});
  return rows;
}

Rows gemm_rows(const Probe& probe) {
  const Hardware& h = probe.hardware;
  Rows rows;
  for (const GemmCurve& curve : h.gemm) {
    for (size_t i = 0; i < curve.rows.size(); ++i) {
      rows.push_back({fmt::format("{} {} x {}", dtype_name(curve.dtype), curve.k, curve.n),
                      curve.units > 0 ? std::to_string(curve.units) : "any",
                      fmt::format("{:.0f}", curve.rows[i])});
      for (const auto& fraction : curve.fraction)
        rows.back().push_back(fmt::format("{:.1f}", fraction[i] * h.peak(curve.dtype) * probe.cores / 1e9));
    }
  }
  return rows;
}

std::string collective_table(const Hardware& h) {
  std::vector<std::vector<std::string>> rows;
  for (const CollectiveCurve& curve : h.collectives) {
    rows.push_back({name_of(curve.op), dtype_name(curve.dtype), std::to_string(curve.devices),
                    fmt::format("{:.1f}", 1e6 * curve.seconds.front()),
                    fmt::format("{:.2f}", curve.bytes.back() / curve.seconds.back() / 1e9)});
  }
  return rows.empty() ? ""
                      : format_table({"collective", "type", "devices", "smallest us", "largest GB/s"}, rows);
}

// Returns the levels of the network, and says between which processes they were measured.
std::string levels_line(const Probe& probe) {
  std::string text = probe.num_processes == 1
                         ? std::string("on threads")
                         : fmt::format("{} devices: {} processes on {}", probe.num_processes,
                                       probe.num_processes, count_text(probe.num_nodes, "node"));
  for (const LinkLevel& level : probe.hardware.topology.levels)
    text += fmt::format("; {} {:.1f} us, {:.3g} GB/s", level.name, 1e6 * level.latency_s,
                        level.bytes_per_s / 1e9);
  return text + "\n";
}

// Says which measurements ran while not all cores were at hand.
std::string repetitions(const Probe& probe) {
  std::string text = count_text(probe.repeated, "measurement") + " run again for cores that were away";
  if (probe.disturbed > 0)
    text += fmt::format(", {} of all never had them: measure again on a quieter machine", probe.disturbed);
  return text;
}

std::string named(const std::string& instruction) { return instruction.empty() ? "not named" : instruction; }

}  // namespace

std::string probe_summary(const Probe& probe) {
  const Hardware& h = probe.hardware;
  return fmt::format(
      "{}, {}, {}, build {}, {:.0f} s; {}\n"
      "peak f32 ({}) {:.1f} GF/s on one core, {:.1f} on all; bf16 ({}) {:.1f} and {:.1f}; f32 register tile "
      "of the "
      "kernels {:.1f}\n\n{}links {}\n"
      "rows: gather {:.2f}, combine {:.2f}, SwiGLU {:.2f} GB/s a core; plan {:.2f} ns an assignment; barrier "
      "{:.2f} us; "
      "a step {:.1f} us, a stage {:.1f} us\n",
      probe.cpu, count_text(probe.cores, "core"), probe.time_utc, probe.build, probe.seconds,
      repetitions(probe), named(h.f32_instruction), probe.f32_one / 1e9, probe.f32_all / 1e9,
      named(h.bf16_instruction), probe.bf16_one / 1e9, probe.bf16_all / 1e9, probe.tile_all / 1e9,
      collective_table(h), levels_line(probe), h.rows.gather / 1e9, h.rows.combine / 1e9, h.rows.swiglu / 1e9,
      1e9 * h.plan_s_per_assignment, 1e6 * h.barrier_s, 1e6 * h.start_s, 1e6 * h.stage_s);
}

ProbeTables::ProbeTables(std::function<void(const std::string&)> print)
    : print_(std::move(print)),
      bandwidth_({{"threads", 0}, {"read GB/s (all passes)", 22}, {"copy GB/s", 0}}),
      numa_({{"cores of NUMA node", 0}, {"memory of", 0}, {"read GB/s", 0}, {"copy GB/s", 0}}),
      gemm_({{"matrices", 16},
             {"threads a device", 0},
             {"rows", 5},
             {"forward GF/s", 0},
             {"input_grad", 0},
             {"weight_grad", 0}}) {}

void ProbeTables::print_rows(const StreamedTable& table, const Rows& rows, size_t& num_printed) {
  if (rows.size() > num_printed && num_printed == 0) print_(fmt::format("\n{}", table.header()));
  for (; num_printed < rows.size(); ++num_printed) print_(table.row(rows[num_printed]));
}

void ProbeTables::print_new(const Probe& probe) {
  print_rows(bandwidth_, bandwidth_rows(probe), num_bandwidth_);
  print_rows(numa_, numa_rows(probe), num_numa_);
  print_rows(gemm_, gemm_rows(probe), num_gemm_);
}

}  // namespace moehill
