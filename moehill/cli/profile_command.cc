// `moehill profile` times three ways to spread a block beside each other, in the same rounds and with the
// router in the step: ref_dp (plain), staged_dp (our kernels, stage by stage) and fused_ep (pipelined).
//
//     moehill profile --tokens 256 --hidden 256 --mlp-dim 256 --experts 16 --topk 2 --staged-dp --profile
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

// ProfilePoints is what the command knows before it measures anything.
struct ProfilePoints {
  ProfileOptions options;
  Environment environment;
  std::vector<Point> points;
};

std::optional<ProfilePoints> prepare_profile(const std::vector<std::string>& args, const Job& job) {
  std::optional<ProfileOptions> options = parse_profile_options(args);
  if (!options) return std::nullopt;
  ProfilePoints prepared{*options, adopt_environment(options->bench, job), {}};
  prepared.options = *options;  // adopt_environment() has put the job's layout into it
  open_weights(prepared.options.bench);
  prepared.points = expand_profile_points(*options, prepared.environment.topology.num_cores);
  if (job.is_root()) require_writable_outputs(options->bench, prepared.environment);
  return prepared;
}

// Returns a line for each pair of paths with the ratio of their speeds and the verdict.
std::string ratio_lines(const CommandResult& command, uint32_t seed) {
  std::string text;
  for (const Comparison& c : compare_paths(command.points, seed)) {
    const PointResult &other = command.points[c.none], &fused = command.points[c.ep];
    text += fmt::format("topk={}: fused_ep/{} = {:.3f}{} in speed over {}: {}{}\n",
                        fused.point.config.shape.topk, name_of(other.point.path), c.ratio.ratio,
                        interval_text(c.ratio.interval, "{:.3f}"), count_text(c.ratio.n, "round"),
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

// Returns a line on what the timed step contains, since the paths differ in that.
std::string region_note(const ProfileOptions& options) {
  if (options.bench.block.pass == Pass::forward) return "router in every step\n";
  return "router in every step; ref_dp and staged_dp end with the all-reduce of all weight gradients\n";
}

}  // namespace

int profile_command(const std::vector<std::string>& args, const Job& job) {
  const std::optional<ProfilePoints> prepared = job.together([&] { return prepare_profile(args, job); });
  if (!prepared) return kExitDone;
  const ProfileOptions& options = prepared->options;
  const Environment& environment = prepared->environment;
  // --explain-blocks only describes, so it ends here, before anything takes memory.
  if (options.explain_blocks) {
    const auto& shape = prepared->points.front().config.shape;
    say(options.bench, job, explain_blocks(options.bench.block.blocks, shape, environment.topology));
    return kExitDone;
  }
  Yardstick yardstick(environment.topology.core_cpus, job);
  std::string left_out;
  std::vector<Point> points = without_large_references(prepared->points, job, options.bench.check, left_out);
  BenchPredictions predictions;  // every path is given, so the prediction chooses none
  job.on_root([&] { predictions = predict_points(options.bench, environment, points); });
  const std::string tuned = adopt_tuned(options.bench, environment, job, points);
  CommandResult command = run_points(options.bench, options.bench.overlap ? with_parts(points) : points,
                                     environment, job, yardstick, left_out + tuned);
  take_overlaps(command);
  command.command = "profile";
  int status = kExitDone;
  job.on_root([&] {
    for (size_t i = 0; i < points.size(); ++i) command.points[i].prediction = predictions.points[i];
    write_outputs(options.bench, command, [&] {
      say(options.bench, job,
          answer_line(command, options.bench.seed) + result_table(command, options.bench.seed) +
              overlap_lines(command) + region_note(options) + device_table(command) +
              loading_line(options.bench) + stage_table(command) + "\nHow sure this is:\n" +
              ratio_lines(command, options.bench.seed) + check_lines(command) + machine_lines(command) +
              next_line(command, options.bench.seed));
    });
    status = exit_status(command);
  });
  return static_cast<int>(job.largest(status));
}

}  // namespace moehill
