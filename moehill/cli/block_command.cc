// Implementation of cli/block_command.h: steps that `moehill bench`, `profile` and `tune` share.
#include "moehill/cli/block_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <sstream>

#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/climb/climbed_table.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/measure.h"
#include "moehill/measure/terminal_report.h"
#include "moehill/measure/timeline.h"
#include "moehill/predict/pick_score.h"
#include "moehill/probe/probe_file.h"
#include "moehill/report/exports.h"
#include "moehill/routing/trace.h"
#include "moehill/tune/tuned_table.h"

namespace moehill {
namespace {

void refuse_kept_files(const BenchOptions& options, const Environment& environment) {
  std::vector<NamedPath> paths = {{"the table of blocks", default_tuned_file(environment)},
                                  {"the table of climbs", default_climbed_file(environment)},
                                  {"the probe", default_probe_file()},
                                  {"the scores", default_score_file()},
                                  {"--json", options.json, true},
                                  {"--export-csv", options.export_csv, true},
                                  {"--export-json", options.export_json, true},
                                  {"--export-markdown", options.export_markdown, true}};
  if (!options.save_routing.empty()) {
    for (const std::string& file : routing_files(options.save_routing))
      paths.push_back({"--save-routing", file, true});
  }
  require_distinct_outputs(paths);
}

void write_traces(const BenchOptions& options, const CommandResult& command) {
  if (options.trace_dir.empty()) return;
  make_folder(options.trace_dir);
  for (const PointResult& result : command.points) {
    if (result.events.empty()) continue;
    const std::string file = options.trace_dir + "/" + result.point.folder + ".json";
    write_text_file(file, chrome_trace(make_timeline(result, command.clock_uncertainty)));
    const TimelineCost cost = timeline_cost(result);
    show(fmt::format("timeline {}: {} a step and device, {:.1f} us, {:.2g} % of the step\n", file,
                     count_text(cost.num_events, "event"), 1e6 * cost.seconds,
                     100 * cost.seconds / median_of(result.samples)),
         table_stream(options.json));
  }
}

void write_records(const BenchOptions& options, const CommandResult& command) {
  if (options.json.empty()) return;
  std::string lines;
  for (const Record& record : make_records(options, command)) lines += record_line(record);
  write_json_lines(options.json, lines);
}

// Writes the points, without the arms of ablations, into `file` in a form in which hyperfine exports its
// results; does nothing for "".
void write_export(const BenchOptions& options, const CommandResult& command, const std::string& file,
                  std::string (*form)(const std::vector<ExportedRow>&)) {
  if (file.empty()) return;
  std::vector<ExportedRow> rows;
  for (size_t i = 0; i < command.points.size(); ++i) {
    const Point& point = command.points[i].point;
    rows.push_back({point.label, point.axes, json_of(make_record(options, command, i))});
  }
  write_text_file(file, form(rows));
}

}  // namespace

void say(const BenchOptions& options, const Job& job, const std::string& text) {
  if (!job.is_root()) return;
  show(text, table_stream(options.json));
}

void require_writable_outputs(const BenchOptions& options, const Environment& environment) {
  refuse_kept_files(options, environment);
  require_writable_json(options.json);
  for (const auto& [name, file] :
       {std::pair("--export-csv", options.export_csv), std::pair("--export-json", options.export_json),
        std::pair("--export-markdown", options.export_markdown)})
    if (!file.empty()) require_writable_file(name, file);
  if (!options.save_routing.empty()) {
    for (const std::string& file : routing_files(options.save_routing))
      require_writable_file("--save-routing", file);
  }
  if (!options.dump.empty()) require_writable_folder("--dump", options.dump);
  if (!options.trace_dir.empty()) require_writable_folder("--trace-dir", options.trace_dir);
}

Environment adopt_environment(BenchOptions& options, const Job& job) {
  Environment environment = detect_environment();
  adopt_job(job, options.mesh, options.devices, options.threads_per_device);
  adopt_nodes(job, options);
  if (job.session() != nullptr) {
    environment.mpi = job.session()->library();
    environment.num_nodes = job.session()->num_nodes();
    environment.node_of = job.session()->nodes().irregular();
    // --ring-split auto: a ring between nodes gains from splitting its products, because rows travel longer
    // there.
    if (!options.split_rows) options.split_rows = environment.num_nodes > 1 ? Switch::on : Switch::off;
  }
  for (BenchOptions& variant : options.variants) adopt_environment(variant, job);
  return environment;
}

std::string adopt_tuned(const BenchOptions& options, const Environment& environment, const Job& job,
                        std::vector<Point>& points) {
  // The table of tuned blocks is a file of the first process's machine. The other processes get the blocks as
  // text, a line for each point.
  std::string text, found;
  job.on_root([&] {
    text = apply_tuned(options, environment, points);
    for (const Point& point : points)
      found += fmt::format("{} {}\n", name_of(point.tuned), to_string(point.config.block.blocks));
  });
  std::istringstream lines(job.from_root(found));
  for (Point& point : points) {
    std::string tuned, blocks;
    lines >> tuned >> blocks;
    point.tuned = value_named<Tuned>(tuned).value();
    point.config.block.blocks = parse_blocks(blocks);
  }
  return text;
}

CommandResult run_points(const BenchOptions& options, const std::vector<Point>& points,
                         const Environment& environment, const Job& job, Yardstick& yardstick,
                         const std::string& note) {
  const std::vector<double> predicted = require_memory(points, job, options.check);
  say(options, job, describe_command(points, environment, predicted) + note);
  CommandResult command = measure(options, points, job, yardstick, terminal_watcher());
  command.environment = environment;
  command.predicted_bytes = predicted;
  return command;
}

void write_outputs(const BenchOptions& options, const CommandResult& command,
                   const std::function<void()>& show_all) {
  write_and_show({[&] { write_records(options, command); },
                  [&] { write_export(options, command, options.export_csv, hyperfine_csv); },
                  [&] { write_export(options, command, options.export_json, hyperfine_json); },
                  [&] { write_export(options, command, options.export_markdown, hyperfine_markdown); },
                  [&] { write_traces(options, command); }},
                 show_all);
}

int exit_status(const CommandResult& command) {
  const int done = command.interrupted_by == 0 ? kExitDone : kExitSignal + command.interrupted_by;
  for (const PointResult& result : command.points) {
    if (result.check.status == CheckStatus::failed) return kExitCheckFailed;
  }
  return done;
}

}  // namespace moehill
