// `moehill probe` measures what the model needs to know of this machine (peaks, bandwidths, products, links)
// and keeps it in a file that predict, roofline and `--ep-path auto` read. measure_probe()
// (moehill/probe/probe_measurement.h) does the measuring.
//
//     moehill probe                                            # about a minute; kept in the user's folder
//     moehill probe --file probe.json --as-hardware this.toml  # also as a hardware file
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

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
#include "moehill/probe/probe_tables.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

constexpr double kUsualProbe_s = 60;  // the estimate while no kept probe says how long one takes

// ProbeOptions is what the command line fills.
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
  set.output("--as-hardware", &o.as_hardware, "FILE", "also write a hardware file of this machine");
  set.flag("--keep-disturbed", &o.keep_disturbed, "keep the probe even if other work took cores from it");
  declare_timeout(set, &o.timeout_s);
  if (!set.parse(args)) return std::nullopt;
  if (o.show && o.keep_disturbed)
    throw usage_error("--keep-disturbed cannot be used with --show, which measures nothing",
                      "leave one of the two out");
  if (o.file.empty())
    throw input_error("--file", "none", "a file, since there is no home folder", "name one");
  if (!job.is_root()) return o;  // the first process writes, so the others have nothing to refuse
  if (!o.as_hardware.empty()) require_writable_file("--as-hardware", o.as_hardware);
  if (o.show) return o;
  // The largest blocks of the probe have a fixed size, so a probe that does not fit into memory can be
  // refused before the first measurement.
  refuse_too_much_memory(
      {{"calibration blocks and copies", 2.2e9},
       {"to empty the caches with", static_cast<double>(cold_cache_bytes(detect_topology()))}},
      available_memory_bytes(), "free some memory");
  make_folder_of("--file", o.file);
  require_writable_file("--file", o.file);
  return o;
}

Probe find_or_refuse(const std::string& path) {
  std::optional<Probe> probe = find_probe(path);
  if (!probe)
    throw input_error("--show", "no probe in " + path, "a probe that was measured",
                      "run moehill probe first");
  return *probe;
}

// Returns the probe as a hardware file, which can be edited and given to --hardware.
std::string hardware_text(const Probe& probe, const std::string& path) {
  Hardware h = probe.hardware;
  h.name = std::filesystem::path(path).stem().string();
  return with_sources(hardware_toml(
      h, {fmt::format("Measured by moehill probe on {} of {}, {}.", count_text(probe.cores, "core"),
                      probe.cpu, probe.time_utc),
          "Peak: the CPU's own instructions in registers, a core's share of all at once. Memory: "
          "reading what no cache holds, one core and all.",
          "Curves: steps of calibration blocks, all cores at work. Collectives: devices of "
          "one thread each, " +
              std::string(probe.num_processes == 1 ? "in shared memory." : "the processes of a job.")}));
}

// Measures or reads the probe, prints it and keeps it. Throws std::runtime_error, and keeps nothing, if other
// work took cores away during the measurement.
void probe(const ProbeOptions& options, const JobLinks& links, const Environment& environment) {
  Probe probe;
  ProbeTables tables([](const std::string& text) {
    show_progress("");
    show(text);
  });
  if (options.show) {
    probe = find_or_refuse(options.file);
    tables.print_new(probe);
  } else {
    warn_if_busy(environment.topology.num_cores);
    // The probe that was kept last says how long a probe takes on this machine.
    const std::optional<Probe> before = find_probe(options.file);
    tell(estimate_words(before ? before->seconds : kUsualProbe_s, "peaks, bandwidths, products and links"));
    probe = measure_probe(environment, links, show_progress,
                          [&](const Probe& so_far) { tables.print_new(so_far); });
    show_progress("");
    if (!options.keep_disturbed) refuse_disturbed(probe);
  }
  std::string place = options.show ? fmt::format("read from {}\n", options.file) : "";
  const auto keep = [&] {
    if (options.show) return;
    write_probe(probe, options.file);
    place = fmt::format("kept in {}\n", options.file);
  };
  const auto keep_hardware = [&] {
    if (!options.as_hardware.empty())
      write_text_file(options.as_hardware, hardware_text(probe, options.as_hardware));
  };
  write_and_show({keep, keep_hardware}, [&] {
    const std::string stale = stale_reason(probe, environment);
    show(probe_summary(probe) +
         (stale.empty() ? "" : fmt::format("stale: {}; measure again by moehill probe\n", stale)) + place);
  });
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
