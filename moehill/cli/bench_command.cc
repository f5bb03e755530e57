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
#include "moehill/cli/prediction.h"
#include "moehill/cli/record.h"
#include "moehill/cli/terminal_report.h"
#include "moehill/machine/memory.h"

namespace moehill {
namespace {

// Where the table goes: standard output, or standard error when the records have standard output.
std::FILE* table_stream(const BenchOptions& options) { return options.json == "-" ? stderr : stdout; }

void say(const BenchOptions& options, const Job& job, const std::string& text) {
  if (!job.is_root()) return;
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

// Tokens for two minutes, by what the first process measures on its cores.
int64_t measured_tokens(const BenchOptions& options, int num_cores, Yardstick& yardstick) {
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
  return choose_tokens(points_of, options.schedule.warmup + options.schedule.iters, speed, usable);
}

void resolve_tokens(BenchOptions& options, const Job& job, int num_cores, Yardstick& yardstick) {
  if (!options.tokens_auto) return;
  std::string chosen;
  job.on_root([&] { chosen = std::to_string(measured_tokens(options, num_cores, yardstick)); });
  options.tokens = std::stoll(job.from_root(chosen));
  say(options, job,
      fmt::format("--tokens auto: {} tokens, for two minutes at the measured peak\n", options.tokens));
}

CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick) {
  CommandResult command;
  command.time_utc = utc_now();
  for (const Point& point : points) {
    if (point.config.mode != ParallelMode::none || job.is_root())
      yardstick.team(yardstick_threads(point.config, job));
  }
  measure_together(yardstick, job, &Yardstick::measure_fma);
  // Now, since its memory must not count as the runs' peak.
  measure_together(yardstick, job, &Yardstick::measure_bandwidth);
  reset_peak_rss();
  Measurement measurement(
      options, points, job, yardstick, job.is_root() ? show_progress : [](const std::string&) {});
  measurement.prepare();
  measurement.time(&command);
  command.peak_rss_bytes = job.sum(static_cast<double>(peak_rss_bytes()));
  measure_together(yardstick, job, &Yardstick::measure_fma);
  if (job.is_root()) show_progress("");
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

// The cores of this node in the order in which this process uses them: its own device's first.
std::vector<int> own_cpus_first(const Job& job, const BenchOptions& options, std::vector<int> cpus) {
  if (job.session() == nullptr) return cpus;
  const int ranks_per_node =
      (job.num_processes() + job.session()->num_nodes() - 1) / job.session()->num_nodes();
  const int64_t own = job.session()->rank() % ranks_per_node * options.threads_per_device;
  if (own < std::ssize(cpus)) std::rotate(cpus.begin(), cpus.begin() + own, cpus.end());
  return cpus;
}

// The first process predicts and chooses; the others take its paths.
BenchPredictions predict_everywhere(const BenchOptions& options, const Environment& environment,
                                    const Job& job, std::vector<Point>& points) {
  BenchPredictions predictions;
  std::string paths;
  job.on_root([&] {
    predictions = predict_points(options, environment, points);
    for (const Point& point : points) paths += static_cast<char>('a' + static_cast<int>(point.config.path));
  });
  paths = job.from_root(paths);
  for (size_t i = 0; i < points.size(); ++i) points[i].config.path = static_cast<EpPath>(paths[i] - 'a');
  return predictions;
}

struct Prepared {
  BenchOptions options;
  Environment environment;
};

// Everything that can be refused before anything is measured; nothing when help was printed.
std::optional<Prepared> prepare(const std::vector<std::string>& args, const Job& job) {
  std::optional<BenchOptions> options = parse_bench_options(args);
  if (!options) return std::nullopt;
  Environment environment = detect_environment();
  const int num_cores = environment.topology.num_cores;
  adopt_job(job, num_cores, options->mesh, options->devices, options->threads_per_device);
  if (!options->tokens_auto) expand_points(*options, num_cores);
  if (job.is_root()) require_writable_outputs(*options);
  if (job.session() != nullptr) {
    environment.mpi = job.session()->library();
    environment.num_nodes = job.session()->num_nodes();
  }
  return Prepared{*options, environment};
}

}  // namespace

int bench_command(const std::vector<std::string>& args, const Job& job) {
  std::optional<Prepared> prepared = job.together([&] { return prepare(args, job); });
  if (!prepared) return kExitDone;
  BenchOptions& options = prepared->options;
  const Environment& environment = prepared->environment;
  const int num_cores = environment.topology.num_cores;
  Yardstick yardstick(own_cpus_first(job, options, environment.topology.core_cpus));
  resolve_tokens(options, job, num_cores, yardstick);
  std::vector<Point> points = expand_points(options, num_cores);
  const BenchPredictions predictions = predict_everywhere(options, environment, job, points);
  const std::vector<MemoryPart> memory = predict_points_memory(points, job.num_processes());
  job.together([&] {
    if (job.is_root()) refuse_too_much_memory(memory, available_memory_bytes() * environment.num_nodes);
    return true;
  });
  say(options, job, describe_command(points, environment, memory) + predictions.text);

  CommandResult command = measure(options, points, job, yardstick);
  int status = kExitDone;
  job.on_root([&] {
    command.environment = environment;
    for (size_t i = 0; i < points.size(); ++i) command.points[i].prediction = predictions.points[i];
    command.predicted_bytes = total_bytes(memory);
    write_traces(options, command);
    write_records(options, command);
    say(options, job,
        result_table(command) + routing_lines(command) + stage_tables(command) + check_lines(command) +
            verdict_lines(command, options.seed) + prediction_lines(command));
    status = exit_status(command);
  });
  return std::stoi(job.from_root(std::to_string(status)));
}

}  // namespace moehill
