// `moehill bench`: resolve, refuse what cannot be, check, time, report.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "moehill/cli/auto_tokens.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/measurement.h"
#include "moehill/cli/output_paths.h"
#include "moehill/cli/record.h"
#include "moehill/cli/terminal_report.h"
#include "moehill/machine/memory.h"

namespace moehill {
namespace {

// Where the table goes: standard output, or standard error when the records have standard output.
std::FILE* table_stream(const BenchOptions& options) { return options.json == "-" ? stderr : stdout; }

void say(const BenchOptions& options, const std::string& text) {
  std::fputs(text.c_str(), table_stream(options));
  std::fflush(table_stream(options));
}

// One line on standard error that is overwritten, and only for eyes.
void show_progress(const std::string& text) {
  if (isatty(STDERR_FILENO) != 1) return;
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
  std::fflush(stderr);
}

void require_writable_outputs(const BenchOptions& options) {
  if (!options.json.empty() && options.json != "-") require_writable_file("--json", options.json);
  if (!options.dump.empty()) require_writable_folder("--dump", options.dump);
  if (!options.trace_dir.empty()) require_writable_folder("--trace-dir", options.trace_dir);
}

void resolve_tokens(BenchOptions& options, int num_cores, Yardstick& yardstick) {
  if (!options.tokens_auto) return;
  const Layout layout = resolve_layout(options, num_cores);
  const int num_threads = std::min(num_cores, layout.num_devices * layout.threads_per_device);
  yardstick.team(num_threads);
  for (int i = 0; i < 3; ++i) yardstick.measure_fma();
  yardstick.measure_bandwidth();
  const MachineSpeed speed{yardstick.peak_flops(num_threads), yardstick.read_bytes_per_s(num_threads)};
  const auto points_of = [&](int64_t tokens) {
    BenchOptions sized = options;
    sized.tokens = tokens;
    return expand_points(sized, num_cores);
  };
  const double usable = 0.9 * static_cast<double>(available_memory_bytes());
  options.tokens = choose_tokens(points_of, options.schedule.warmup + options.schedule.iters, speed, usable);
  say(options,
      fmt::format(
          "--tokens auto: {} tokens, for two minutes at a measured peak of {:.1f} GF/s and {:.1f} GB/s\n",
          options.tokens, speed.flops / 1e9, speed.bytes_per_s / 1e9));
}

CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, Yardstick& yardstick) {
  CommandResult command;
  command.time_utc = utc_now();
  for (const Point& point : points)
    yardstick.team(point.config.num_devices * point.config.threads_per_device);
  yardstick.measure_fma();
  yardstick.measure_bandwidth();  // now, since its memory must not count as the runs' peak
  reset_peak_rss();
  Measurement measurement(options, points, yardstick, show_progress);
  measurement.prepare();
  measurement.time(&command);
  command.peak_rss_bytes = static_cast<double>(peak_rss_bytes());
  yardstick.measure_fma();
  show_progress("");
  command.points = measurement.take_results();
  return command;
}

void write_traces(const BenchOptions& options, const CommandResult& command) {
  if (options.trace_dir.empty()) return;
  std::filesystem::create_directories(options.trace_dir);
  for (const PointResult& result : command.points) {
    if (result.trace.empty()) continue;
    write_text_file(options.trace_dir + "/" + result.point.folder + ".json",
                    chrome_trace(result.trace, [](int stage) { return name_of(static_cast<Stage>(stage)); }));
  }
}

void write_records(const BenchOptions& options, const CommandResult& command) {
  if (options.json.empty()) return;
  const std::string lines = record_lines(options, command);
  if (options.json != "-") return write_text_file(options.json, lines);
  const bool written = std::fputs(lines.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (!written) throw std::runtime_error("cannot write the records to standard output");
}

int exit_status(const CommandResult& command) {
  for (const PointResult& result : command.points) {
    if (result.check.status == "failed") return kExitCheckFailed;
  }
  return kExitDone;
}

}  // namespace

int bench_command(const std::vector<std::string>& args) {
  std::optional<BenchOptions> options = parse_bench_options(args);
  if (!options) return kExitDone;
  const Environment environment = detect_environment();
  const int num_cores = environment.topology.num_cores;
  if (!options->tokens_auto)
    expand_points(*options, num_cores);  // refuses bad shapes before anything is measured
  require_writable_outputs(*options);
  Yardstick yardstick(environment.topology.core_cpus);
  resolve_tokens(*options, num_cores, yardstick);
  const std::vector<Point> points = expand_points(*options, num_cores);
  const std::vector<MemoryPart> memory = predict_points_memory(points);
  refuse_too_much_memory(memory, available_memory_bytes());
  say(*options, describe_command(points, environment, memory));

  CommandResult command = measure(*options, points, yardstick);
  command.environment = environment;
  command.predicted_bytes = total_bytes(memory);
  write_traces(*options, command);
  write_records(*options, command);
  say(*options, result_table(command) + routing_lines(command) + stage_tables(command) +
                    check_lines(command) + verdict_lines(command, options->seed));
  return exit_status(command);
}

}  // namespace moehill
