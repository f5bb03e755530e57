// `moehill probe`: measures this machine for the model, and keeps that.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/machine/memory.h"
#include "moehill/measure/memory_check.h"
#include "moehill/probe/probe_file.h"
#include "moehill/probe/probe_sources.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

struct ProbeOptions {
  std::string file = default_probe_file(), as_hardware;
  bool show = false, keep_disturbed = false;
  double timeout_s = 0;
};

std::optional<ProbeOptions> parse_probe_options(const std::vector<std::string>& args, const Job& job) {
  ProbeOptions o;
  OptionSet set(
      "moehill probe",
      "Measures what predict, roofline and --ep-path auto need of this machine, in about a minute. Under a "
      "launcher also the links between the processes, one device each.",
      {"moehill probe", "moehill probe --show", "moehill probe --file probe.json --as-hardware this.toml",
       "mpirun -n 2 moehill probe --file job.json"});
  set.output("--file", &o.file, "FILE", "where the probe is kept");
  set.flag("--show", &o.show, "print the probe that is kept, and whether it is stale; measure nothing");
  set.output("--as-hardware", &o.as_hardware, "FILE", "write a hardware file of this machine besides");
  set.flag("--keep-disturbed", &o.keep_disturbed, "keep a probe although other work took cores from it");
  declare_timeout(set, &o.timeout_s);
  if (!set.parse(args)) return std::nullopt;
  if (o.file.empty())
    throw input_error("--file", "none", "a file, since there is no home folder", "name one");
  if (!job.is_root()) return o;  // the first process writes
  if (!o.as_hardware.empty()) require_writable_file("--as-hardware", o.as_hardware);
  if (o.show) return o;
  refuse_too_much_memory(
      {{"calibration blocks and copies", 2.2e9},
       {"to empty the caches with", static_cast<double>(cold_cache_bytes(detect_topology()))}},
      available_memory_bytes(), "free some memory");
  const std::filesystem::path folder = std::filesystem::path(o.file).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder);
  require_writable_file("--file", o.file);
  return o;
}

std::string bandwidth_table(const Probe& probe) {
  std::vector<std::vector<std::string>> rows;
  for (const ThreadBandwidth& b : probe.bandwidth)
    rows.push_back(
        {std::to_string(b.threads),
         fmt::format("{:.1f} ({:.1f} to {:.1f})", b.read.median / 1e9, b.read.min / 1e9, b.read.max / 1e9),
         fmt::format("{:.1f}", b.copy / 1e9)});
  return format_table({"threads", "read GB/s (all passes)", "copy GB/s"}, rows);
}

std::string numa_table(const Probe& probe) {
  if (probe.numa.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const NumaBandwidth& b : probe.numa)
    rows.push_back({std::to_string(b.cores), std::to_string(b.memory), fmt::format("{:.1f}", b.read / 1e9),
                    fmt::format("{:.1f}", b.copy / 1e9)});
  return format_table({"cores of NUMA node", "memory of", "read GB/s", "copy GB/s"}, rows) + "\n";
}

std::string gemm_table(const Hardware& h, int cores) {
  std::vector<std::vector<std::string>> rows;
  for (const GemmCurve& curve : h.gemm) {
    for (size_t i = 0; i < curve.rows.size(); ++i) {
      std::vector<std::string> row = {fmt::format("{} {} x {}", dtype_name(curve.dtype), curve.k, curve.n),
                                      curve.units > 0 ? std::to_string(curve.units) : "any",
                                      fmt::format("{:.0f}", curve.rows[i])};
      for (const auto& fraction : curve.fraction)
        row.push_back(fmt::format("{:.1f}", fraction[i] * h.peak(curve.dtype) * cores / 1e9));
      rows.push_back(row);
    }
  }
  return format_table({"matrices", "threads a device", "rows", "forward GF/s", "input_grad", "weight_grad"},
                      rows);
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

// Levels of the network, and whose processes they were measured between.
std::string levels_line(const Probe& probe) {
  std::string text = probe.num_processes == 1
                         ? std::string("on threads")
                         : fmt::format("{} devices: {} processes on {} node{}", probe.num_processes,
                                       probe.num_processes, probe.num_nodes, probe.num_nodes == 1 ? "" : "s");
  for (const LinkLevel& level : probe.hardware.topology.levels)
    text += fmt::format("; {} {:.1f} us, {:.3g} GB/s", level.name, 1e6 * level.latency_s,
                        level.bytes_per_s / 1e9);
  return text + "\n";
}

// Says which measurements ran while not all cores were at hand.
std::string repetitions(const Probe& probe) {
  std::string text = fmt::format("{} measurements run again for cores that were away", probe.repeated);
  if (probe.disturbed > 0)
    text += fmt::format(", {} of all never had them: measure again on a quieter machine", probe.disturbed);
  return text;
}

std::string named(const std::string& instruction) { return instruction.empty() ? "not named" : instruction; }

std::string describe(const Probe& probe) {
  const Hardware& h = probe.hardware;
  return fmt::format(
      "{}, {} cores, {}, build {}, {:.0f} s; {}\n"
      "peak f32 ({}) {:.1f} GF/s on one core, {:.1f} on all; bf16 ({}) {:.1f} and {:.1f}; f32 register tile "
      "of the "
      "kernels {:.1f}\n\n{}\n{}{}\n{}links {}\n"
      "rows: gather {:.2f}, combine {:.2f}, SwiGLU {:.2f} GB/s a core; plan {:.2f} ns an assignment; barrier "
      "{:.2f} us; "
      "a step {:.1f} us, a stage {:.1f} us\n",
      probe.cpu, probe.cores, probe.time_utc, probe.build, probe.seconds, repetitions(probe),
      named(h.f32_instruction), probe.f32_one / 1e9, probe.f32_all / 1e9, named(h.bf16_instruction),
      probe.bf16_one / 1e9, probe.bf16_all / 1e9, probe.tile_all / 1e9, bandwidth_table(probe),
      numa_table(probe), gemm_table(h, probe.cores), collective_table(h), levels_line(probe),
      h.rows.gather / 1e9, h.rows.combine / 1e9, h.rows.swiglu / 1e9, 1e9 * h.plan_s_per_assignment,
      1e6 * h.barrier_s, 1e6 * h.start_s, 1e6 * h.stage_s);
}

Probe find_or_refuse(const std::string& path) {
  std::optional<Probe> probe = find_probe(path);
  if (!probe)
    throw input_error("--show", "no probe in " + path, "a probe that was measured",
                      "run moehill probe first");
  return *probe;
}

std::string hardware_text(const Probe& probe, const std::string& path) {
  Hardware h = probe.hardware;
  h.name = std::filesystem::path(path).stem().string();
  return with_sources(hardware_toml(
      h, {fmt::format("Measured by moehill probe on {} cores of {}, {}.", probe.cores, probe.cpu,
                      probe.time_utc),
          "Peak: the CPU's own instructions in registers, a core's share of all at once. Memory: "
          "reading what no cache holds, one core and all.",
          "Curves: steps of calibration blocks, all cores at work. Collectives: devices of "
          "one thread each, " +
              std::string(probe.num_processes == 1 ? "in shared memory." : "the processes of a job.")}));
}

void probe(const ProbeOptions& options, const JobLinks& links, const Environment& environment) {
  Probe probe;
  if (options.show) {
    probe = find_or_refuse(options.file);
  } else {
    probe = measure_probe(environment, links, show_progress);
    show_progress("");
    if (probe.disturbed > 0 && !options.keep_disturbed)
      throw std::runtime_error(
          fmt::format("probe: {} measurements never had all cores, and predictions would rest on them; "
                      "nothing is kept. Measure "
                      "on a quieter machine, or keep it by --keep-disturbed",
                      probe.disturbed));
    write_probe(probe, options.file);
  }
  fmt::print("{}", describe(probe));
  const std::string stale = stale_reason(probe, environment);
  if (!stale.empty()) fmt::print("stale: {}; measure again by moehill probe\n", stale);
  fmt::print("{} {}\n", options.show ? "read from" : "kept in", options.file);
  if (!options.as_hardware.empty())
    write_text_file(options.as_hardware, hardware_text(probe, options.as_hardware));
}

}  // namespace

int probe_command(const std::vector<std::string>& args, const Job& job) {
  const Environment environment = detect_environment();
  const std::optional<ProbeOptions> options = job.together([&] { return parse_probe_options(args, job); });
  if (!options) return kExitDone;
  const JobLinks links = options->show ? JobLinks{} : measure_job_links(job, environment.topology);
  job.on_root([&] { probe(*options, links, environment); });
  return kExitDone;
}

}  // namespace moehill
