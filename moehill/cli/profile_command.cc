// `moehill profile`: ref_dp, staged_dp and fused_ep beside each other, interleaved, with the router in the
// step.
#include <fmt/format.h>

#include "moehill/base/table.h"
#include "moehill/cli/block_command.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/profile_options.h"
#include "moehill/measure/loading.h"
#include "moehill/measure/terminal_report.h"
#include "moehill/predict/prediction.h"
#include "moehill/tune/block_report.h"

namespace moehill {
namespace {

struct Prepared {
  ProfileOptions options;
  Environment environment;
  std::vector<Point> points;
};

std::optional<Prepared> prepare(const std::vector<std::string>& args, const Job& job) {
  std::optional<ProfileOptions> options = parse_profile_options(args);
  if (!options) return std::nullopt;
  Prepared prepared{*options, adopt_environment(options->bench, job), {}};
  prepared.options = *options;  // with the job's layout
  open_weights(prepared.options.bench);
  prepared.points = expand_profile_points(*options, prepared.environment.topology.num_cores);
  if (job.is_root()) require_writable_outputs(options->bench);
  return prepared;
}

std::string ratio_lines(const CommandResult& command, uint32_t seed) {
  std::string text;
  for (const Comparison& c : compare_paths(command.points, seed)) {
    const PointResult &other = command.points[c.none], &fused = command.points[c.ep];
    text += fmt::format("topk={}: fused_ep/{} = {:.3f}{} in speed over {} rounds: {}{}\n",
                        fused.point.config.shape.topk, name_of(other.point.path), c.ratio.ratio,
                        interval_text(c.ratio.interval, "{:.3f}"), c.ratio.n,
                        verdict_words(c.ratio, std::nullopt), disagreement_text(c, command.points));
  }
  return text;
}

std::string device_table(const CommandResult& command) {
  std::vector<std::vector<std::string>> rows;
  for (const PointResult& result : command.points) {
    const int devices = result.point.config.num_devices;
    const bool ok = result.trusted();
    rows.push_back({result.point.label,
                    ok ? fmt::format("{:.1f}", model_flops_per_s(result) / devices / 1e9) : "-",
                    ok ? fmt::format("{:.0f}", tokens_per_s(result) / devices) : "-"});
  }
  return "\nper device\n" + format_table({"path", "GF/s", "tokens/s"}, rows);
}

// Says what a step has inside the clock, where that differs between the paths.
std::string region_note(const ProfileOptions& options) {
  if (options.bench.block.pass == Pass::forward) return "router in every step\n";
  return "router in every step; ref_dp and staged_dp end with the all-reduce of all weight gradients\n";
}

}  // namespace

int profile_command(const std::vector<std::string>& args, const Job& job) {
  const std::optional<Prepared> prepared = job.together([&] { return prepare(args, job); });
  if (!prepared) return kExitDone;
  const ProfileOptions& options = prepared->options;
  const Environment& environment = prepared->environment;
  if (options.explain_blocks) {
    const auto& shape = prepared->points.front().config.shape;
    say(options.bench, job, explain_blocks(options.bench.block.blocks, shape, environment.topology));
    return kExitDone;
  }
  Yardstick yardstick(environment.topology.core_cpus, job);
  std::string left_out;
  std::vector<Point> points = without_large_references(prepared->points, job, options.bench.check, left_out);
  BenchPredictions predictions;  // every path is given: none is chosen here
  job.on_root([&] { predictions = predict_points(options.bench, environment, points); });
  const std::string tuned = adopt_tuned(options.bench, environment, job, points);
  CommandResult command = run_points(options.bench, options.bench.overlap ? with_parts(points) : points,
                                     environment, job, yardstick, left_out + tuned);
  take_overlaps(command);
  command.command = "profile";
  int status = kExitDone;
  job.on_root([&] {
    for (size_t i = 0; i < points.size(); ++i) command.points[i].prediction = predictions.points[i];
    write_outputs(options.bench, command);
    say(options.bench, job,
        answer_line(command, options.bench.seed) + result_table(command, options.bench.seed) +
            overlap_lines(command) + region_note(options) + device_table(command) +
            loading_line(options.bench) + stage_table(command) + "\nHow sure this is:\n" +
            ratio_lines(command, options.bench.seed) + check_lines(command) + machine_lines(command) +
            next_line(command, options.bench.seed));
    status = exit_status(command);
  });
  return static_cast<int>(job.largest(status));
}

}  // namespace moehill
