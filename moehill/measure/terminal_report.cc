// Implementation of measure/terminal_report.h: the texts of the terminal's report. Functions that end in
// _line, _lines or _table return text; none of them prints.
#include "moehill/measure/terminal_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/moe/deviation.h"

namespace moehill {
namespace {

std::string milliseconds(const PointResult& result) {
  if (!result.timed()) return "-";
  const Summary s = summarize(result.samples);
  return fmt::format("{:.2f}{}", 1e3 * s.median, interval_text(s.interval, "{:.2f}", 1e3));
}

std::string layout_of(const PointResult& result) {
  const RunConfig& config = result.point.config;
  return layout_words(config.num_devices, config.threads_per_device);
}

// Returns the path of expert parallelism and the waves that were asked for: "fused, 2 waves"; "" without
// expert parallelism.
std::string path_words(const RunConfig& config) {
  if (!is_ep(config.spread)) return "";
  if (config.num_waves == 0) return name_of(config.spread);
  return fmt::format("{}, {}", name_of(config.spread), count_text(config.num_waves, "wave"));
}

// Returns the name of a point with its path, if it has one that the name does not say: "ep by fused".
std::string name_with_path(const Point& point) {
  const std::string path = path_words(point.config);
  if (path.empty() || point.label.find(name_of(point.config.spread)) != std::string::npos) return point.label;
  return fmt::format("{} by {}", point.label, path);
}

// Returns "; ep by fused" if all points of expert parallelism have this path and these waves.
std::string common_path(const std::vector<Point>& points) {
  std::set<std::string> paths;
  for (const Point& point : points)
    if (is_ep(point.config.spread)) paths.insert(path_words(point.config));
  return paths.size() == 1 ? fmt::format("; ep by {}", *paths.begin()) : "";
}

std::vector<std::string> result_row(const PointResult& result) {
  std::vector<std::string> row = {name_with_path(result.point), layout_of(result), milliseconds(result)};
  if (result.trusted()) {
    row.push_back(fmt::format("{:.1f}", model_flops_per_s(result) / 1e9));
    row.push_back(fmt::format("{:.0f}", tokens_per_s(result)));
    row.push_back(result.peak().best > 0 ? fmt::format("{:.1f}", 100 * peak_fraction(result)) : "-");
  } else {
    row.insert(row.end(), 3, "-");
  }
  row.push_back(name_of(result.check.status));
  return row;
}

// Adds a column with tokens/s minus what the capacity dropped, if anything was dropped.
void add_drop_adjusted(const std::vector<PointResult>& points, std::vector<std::string>& header,
                       std::vector<std::vector<std::string>>& rows) {
  if (std::none_of(points.begin(), points.end(), [](const PointResult& p) { return p.num_dropped > 0; }))
    return;
  header.push_back("drop-adjusted tokens/s");
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].push_back(points[i].trusted() ? fmt::format("{:.0f}", drop_adjusted_tokens_per_s(points[i]))
                                          : "-");
  }
}

// Adds the ratios of the verdicts. They are taken round by round, so they may differ from the ratio of the
// medians in the table.
void add_ratios(const std::vector<Comparison>& comparisons, std::vector<std::string>& header,
                std::vector<std::vector<std::string>>& rows) {
  if (comparisons.empty()) return;
  header.push_back("speed to none");
  for (std::vector<std::string>& row : rows) row.push_back("-");
  for (const Comparison& c : comparisons) rows[c.ep].back() = fmt::format("{:.3f}", c.ratio.ratio);
}

std::string device_lines(const PointResult& result, const StageSeconds& stages) {
  if (stages.devices.size() == 1) return "";
  std::string text = fmt::format("{}: device {} is the slowest, {:.3f} times the mean in work;",
                                 result.point.label, stages.slowest, stages.busy_max_over_mean);
  for (size_t i = 0; i < stages.devices.size(); ++i) {
    text += fmt::format("{} {}: {:.2f} ms of work, {:.2f} waiting for peers", i == 0 ? "" : ";", i,
                        1e3 * stages.devices[i].busy(), 1e3 * stages.devices[i].wait);
  }
  return text + "\n";
}

// Adds the largest waits of a point, as many as explain most of its waiting.
void add_waits(const PointResult& result, const StageSeconds& stages,
               std::vector<std::vector<std::string>>& rows) {
  constexpr size_t kShown = 6;
  for (size_t i = 0; i < std::min(kShown, stages.waits.size()); ++i) {
    const WaitEntry& e = stages.waits[i];
    rows.push_back({result.point.label, std::to_string(e.device), name_of(e.stage), std::to_string(e.other),
                    name_of(e.busy_in), fmt::format("{:.2f}", 1e3 * e.seconds)});
  }
}

std::string unaccounted_line(const PointResult& result, const StageSeconds& stages) {
  if (!stages.too_much_unaccounted()) return "";
  return fmt::format("{}: unaccounted: {:.2f} ms are in no stage, more than {:.0f} % of the step\n",
                     result.point.label, 1e3 * stages.unaccounted, 100 * kMostUnaccounted);
}

// Returns milliseconds and share: "15.87 (23.3 %)".
std::string part_of_step(double seconds, const StageSeconds& stages) {
  return fmt::format("{:.2f} ({:.1f} %)", 1e3 * seconds, 100 * seconds / stages.step);
}

// Returns the verdict on one pair as a sentence with its figures.
std::string verdict_sentence(const Comparison& c, const std::vector<PointResult>& points) {
  const PointResult &none = points[c.none], &ep = points[c.ep];
  const std::string what = fmt::format("{} (topk {})", ep.point.label, ep.point.config.shape.topk);
  const ParallelMode mode = mode_of(ep.point.config.spread);
  const char* subject = mode == ParallelMode::dp ? "data parallelism" : "expert parallelism";
  const std::string figures =
      fmt::format("{}/none = {:.3f}{} in speed over {}, {} against {}{}", name_of(mode), c.ratio.ratio,
                  interval_text(c.ratio.interval, "{:.3f}"), count_text(c.ratio.n, "round"), layout_of(ep),
                  layout_of(none), disagreement_text(c, points));
  switch (judge(c.ratio)) {
    case Verdict::faster:
      return fmt::format("{}: {} is faster by {:.1f} %; {}\n", what, subject, 100 * (c.ratio.ratio - 1),
                         figures);
    case Verdict::slower:
      return fmt::format("{}: {} is slower by {:.1f} %; {}\n", what, subject, 100 * (1 - c.ratio.ratio),
                         figures);
    case Verdict::within_noise:
      return fmt::format("{}: within noise; {}\n", what, figures);
    case Verdict::inconclusive:
      return fmt::format("{}: inconclusive, raise --iters or quiet the machine; {}\n", what, figures);
    case Verdict::cannot_tell:
      return fmt::format("{}: {}; {}\n", what, verdict_words(c.ratio, std::nullopt), figures);
    case Verdict::identical:
      break;  // only records can be identical, never a ratio
  }
  return "";
}

// Returns both measured peaks with their instructions, beside the target that the kernels were compiled for.
std::string peak_lines(const PointResult& result, const std::string& kernels) {
  const InstructionPeak& own = result.peak();
  if (own.best <= 0) return "";
  const auto text_of = [](const char* dtype, const InstructionPeak& peak) {
    return fmt::format("{} {:.1f} GF/s ({})", dtype, peak.best / 1e9, peak.instruction);
  };
  const RunConfig& config = result.point.config;
  std::string text = fmt::format(
      "peak measured between the rounds: {}, {} on {}; kernels {}\n"
      "reading {:.1f} GB/s ({:.1f} to {:.1f})\n",
      text_of("bf16", result.peaks.bf16), text_of("f32", result.peaks.f32),
      count_text(int64_t{config.num_devices} * config.threads_per_device, "thread"),
      instruction_words(kernels), result.peaks.read.median / 1e9, result.peaks.read.min / 1e9,
      result.peaks.read.max / 1e9);
  if (own.typical < kPeakShare * own.best)
    text += fmt::format(
        "disturbed: half of the peak's bursts gave {:.1f} GF/s or less; other work takes part of the cores\n",
        own.typical / 1e9);
  return text;
}

// Returns a line on how the loads are spread, for a routing that promises nothing about it and is not one of
// the usual ones.
std::string balance_line(const PointResult& point) {
  const DistributionOptions& distribution = point.point.distribution;
  const bool usual = distribution.kind == Distribution::random || distribution.kind == Distribution::runs;
  if (usual || !point.skew.empty()) return "";
  std::string text = fmt::format(
      "{}: {}; {} to {} assignments an expert, largest load over mean {:.3f} (experts), {:.3f} (devices)",
      point.point.label, to_string(distribution), point.load.min, point.load.max, point.expert_max_over_mean,
      point.device_max_over_mean);
  if (point.num_zero > 0) text += fmt::format("; {} of zero experts", count_text(point.num_zero, "choice"));
  if (point.num_unassigned > 0)
    text += fmt::format("; {} without an expert", count_text(point.num_unassigned, "assignment"));
  return text + "\n";
}

// Returns a line on what the capacity dropped and moved, and how large buffers have to be.
std::string capacity_line(const PointResult& point) {
  const Capacity& capacity = point.point.config.block.capacity;
  if (capacity.policy == CapacityPolicy::none) return "";
  std::string text =
      fmt::format("{}: capacity of {} an expert", point.point.label, count_text(point.capacity_rows, "row"));
  if (capacity.pool > 1) text += fmt::format(", shared by pools of {} experts", capacity.pool);
  if (capacity.sources > 1) text += fmt::format(", for each of {} sources of tokens", capacity.sources);
  text += fmt::format("; {} dropped ({:.2f} %)", count_text(point.num_dropped, "assignment"),
                      100 * drop_fraction(point));
  if (capacity.spares > 0) text += fmt::format(", {} spilled", point.num_spilled);
  if (point.recv_factor > 0)
    text += fmt::format("; recv_factor {:.3f}, assign_factor {:.3f}", point.recv_factor, point.assign_factor);
  if (point.recv_buffer_factor > 0)
    text += fmt::format(", buffers have {:.3f} of the mean received", point.recv_buffer_factor);
  return text + "\n";
}

std::string loss_line(const PointResult& point) {
  if (point.losses.empty()) return "";
  std::string text;
  for (const auto& [name, value] : point.losses)
    text += fmt::format("{}{} {:.6g}", text.empty() ? "" : ", ", name, value);
  return fmt::format("{}: losses: {}\n", point.point.label, text);
}

}  // namespace

std::string describe_command(const std::vector<Point>& points, const Environment& environment,
                             const std::vector<double>& predicted_bytes) {
  const auto text_of = [](const Point& point) {
    const BlockOptions& block = point.config.block;
    return fmt::format("{}, {}, {} {}", to_string(point.config.shape), name_of(block.pass),
                       name_of(block.backend), name_of(block.impl));
  };
  const std::string first = text_of(points.front());
  const bool alike =
      std::all_of(points.begin(), points.end(), [&](const Point& point) { return text_of(point) == first; });
  const Topology& topology = environment.topology;
  return fmt::format(
      "{}: {}{}{}\non {} of {}, kernels {}; predicted memory {}\n"
      "every step begins with cold caches\n",
      count_text(std::ssize(points), "point"), alike ? "" : "the first is ", first, common_path(points),
      count_text(topology.num_cores, "core"), topology.cpu_model, instruction_words(environment.kernel),
      memory_text(predicted_bytes));
}

std::string answer_line(const CommandResult& result, uint32_t seed) {
  const auto text_of = [](const PointResult& p) {
    return fmt::format(
        "{}: a step takes {:.2f} ms, which is {:.1f} GF/s{}", p.point.label, 1e3 * median_of(p.samples),
        model_flops_per_s(p) / 1e9,
        p.peak().best > 0 ? fmt::format(" and {:.1f} % of the measured peak", 100 * peak_fraction(p)) : "");
  };
  std::vector<std::string> untrusted, parts;
  const PointResult *fastest = nullptr, *slowest = nullptr;
  for (const PointResult& p : result.points) {
    if (!p.trusted()) {
      untrusted.push_back(fmt::format("{} ({})", p.point.label, name_of(p.check.status)));
      continue;
    }
    if (fastest == nullptr || model_flops_per_s(p) > model_flops_per_s(*fastest)) fastest = &p;
    if (slowest == nullptr || model_flops_per_s(p) < model_flops_per_s(*slowest)) slowest = &p;
  }
  std::string begin;
  const auto compare = [&](const std::vector<Comparison>& comparisons, const std::string& sentence,
                           const auto& other) {
    for (const Comparison& c : comparisons) {
      const double change = 100 * (c.ratio.ratio - 1);
      const Verdict verdict = judge(c.ratio);
      const bool shown = verdict == Verdict::faster || verdict == Verdict::slower;
      parts.push_back(fmt::format("{}{}{} ({})", shown ? fmt::format("{:.1f} % ", std::abs(change)) : "",
                                  name_of(verdict), other(c), result.points[c.ep].point.label));
      begin = sentence;
    }
  };
  const std::vector<Comparison> modes = compare_modes(result.points, seed);
  const auto num_dp = std::count_if(modes.begin(), modes.end(), [&](const Comparison& c) {
    return result.points[c.ep].point.config.spread == Spread::dp;
  });
  const bool all_dp = num_dp == std::ssize(modes);
  compare(modes,
          num_dp == 0 ? "Expert parallelism against one device: "
          : all_dp    ? "Data parallelism against one device: "
                      : "Expert and data parallelism against one device: ",
          [](const Comparison&) { return ""; });
  compare(compare_paths(result.points, seed), "fused_ep against the others: ", [&](const Comparison& c) {
    return fmt::format(" than {}", name_of(result.points[c.none].point.path));
  });
  if (parts.empty() && fastest != nullptr) parts.push_back(text_of(*fastest));
  if (begin.empty() && fastest != slowest) {
    begin = "Most throughput with ";
    parts.push_back(fmt::format("least with {}", text_of(*slowest)));
  }
  if (!untrusted.empty())
    parts.push_back(fmt::format("no throughput without a passed check: {}", fmt::join(untrusted, ", ")));
  return fmt::format("\n{}{}.\n\n", begin, fmt::join(parts, begin[0] == 'M' ? "; " : ", "));
}

std::string result_table(const CommandResult& result, uint32_t seed) {
  std::vector<std::vector<std::string>> rows;
  for (const PointResult& point : result.points) rows.push_back(result_row(point));
  std::vector<std::string> header = {"point",     "layout", "ms median [interval]", "GF/s", "tokens/s",
                                     "% of peak", "check"};
  add_drop_adjusted(result.points, header, rows);
  add_ratios(compare_modes(result.points, seed), header, rows);
  std::string levels;
  for (const PointResult& point : result.points)
    levels += level_line(point.point.label, point.traffic, point.nodes, point.logical_bytes);
  return format_table(header, rows) + levels;
}

std::string next_line(const CommandResult& result, uint32_t seed) {
  std::vector<std::string> advice;
  const auto& points = result.points;
  const auto any = [&](auto&& holds) { return std::any_of(points.begin(), points.end(), holds); };
  if (any([](const PointResult& p) { return p.check.status == CheckStatus::failed; }))
    advice.push_back("moehill check, which looks for the smallest case that fails");
  const std::vector<Comparison> comparisons = compare_modes(points, seed);
  if (std::any_of(comparisons.begin(), comparisons.end(), [](const Comparison& c) {
        const Verdict verdict = judge(c.ratio);
        return verdict == Verdict::inconclusive || verdict == Verdict::cannot_tell;
      }))
    advice.push_back(fmt::format("more rounds (--iters {}), or --ci-target 0.02", 4 * result.order.size()));
  if (!result.disturbance.empty()) advice.push_back("run it again when the machine is quiet");
  if (any([](const PointResult& p) { return p.timed() && !p.prediction; }))
    advice.push_back("moehill probe, once on this machine, for predictions and for --ep-path auto");
  if (any([](const PointResult& p) { return p.point.tuned == Tuned::miss; }))
    advice.push_back("moehill tune for this shape");
  if (any([](const PointResult& p) { return p.timed() && p.stage_samples.empty(); }))
    advice.push_back("--stage-timing, which says where the time of a step goes");
  if (advice.empty())
    advice.push_back("--json FILE, then moehill roofline --record FILE says what bounds each stage");
  advice.resize(std::min<size_t>(advice.size(), 3));
  return fmt::format("Next: {}.\n", fmt::join(advice, "; "));
}

std::string machine_lines(const CommandResult& result) {
  const auto num_threads = [](const PointResult& point) {
    size_t sum = 0;
    for (const DevicePlace& device : point.placement) sum += device.threads.size();
    return sum;
  };
  // The devices are those of the point with the most threads, for which cores may be too few; of equals the
  // last.
  const PointResult* most = &result.points.front();
  for (const PointResult& point : result.points) {
    if (num_threads(point) >= num_threads(*most)) most = &point;
  }
  return peak_lines(result.points.front(), result.environment.kernel) +
         placement_lines(most->placement, result.environment.topology.num_cores);
}

std::string overlap_lines(const CommandResult& result) {
  std::string text;
  for (const PointResult& point : result.points) {
    if (!point.overlap) continue;
    text += overlap_line(point.point.label, *point.overlap);
    text += flight_line(point.traffic);
  }
  return text;
}

std::string routing_lines(const CommandResult& result) {
  std::string text;
  for (const PointResult& point : result.points) {
    text += balance_line(point) + capacity_line(point) + loss_line(point);
    for (const SkewProperty& p : point.skew) {
      text += fmt::format(
          "{}: {} {:.4g}, asked {:.4g}; largest load over mean {:.3f} (experts), {:.3f} (devices)\n",
          point.point.label, p.name, p.achieved, p.asked, point.expert_max_over_mean,
          point.device_max_over_mean);
    }
  }
  return text;
}

std::string stage_table(const CommandResult& result) {
  std::vector<std::string> header = {"stage", "pass"};
  std::vector<StageSeconds> columns;
  std::vector<std::vector<std::string>> rows, waits;
  std::string notes;
  for (const PointResult& point : result.points) {
    if (!point.timed() || point.stage_samples.empty()) continue;
    header.push_back(point.point.label);
    columns.push_back(stages_of_median(point));
    notes += unaccounted_line(point, columns.back()) + device_lines(point, columns.back());
    if (!columns.back().waits.empty())
      notes += point.point.label + ": " + culprit_sentence(columns.back().waits) + "\n";
    add_waits(point, columns.back(), waits);
  }
  if (columns.empty()) return "";
  const auto add = [&](const std::string& name, const char* pass, const auto& cell) {
    rows.push_back({name, pass});
    for (const StageSeconds& column : columns) rows.back().push_back(cell(column));
  };
  for (size_t i = 0; i < kNumStages; ++i) {
    if (std::all_of(columns.begin(), columns.end(), [&](const auto& c) { return c.seconds[i] <= 0; }))
      continue;
    add(name_of(static_cast<Stage>(i)), static_cast<int>(i) < kFirstBackwardStage ? "forward" : "backward",
        [&](const StageSeconds& c) { return c.seconds[i] > 0 ? part_of_step(c.seconds[i], c) : "-"; });
  }
  add("unaccounted", "", [](const StageSeconds& c) { return part_of_step(c.unaccounted, c); });
  add("whole step", "", [](const StageSeconds& c) { return fmt::format("{:.2f}", 1e3 * c.step); });
  add("hand-overs", "", [](const StageSeconds& c) {
    return fmt::format("{:.0f}", std::accumulate(c.hand_overs.begin(), c.hand_overs.end(), 0.0));
  });
  return "\nStages, in ms and % of the step nearest to the median, on its slowest device\n" +
         format_table(header, rows) + notes +
         (waits.empty() ? ""
                        : format_table({"point", "device", "waits in", "for", "which is in", "ms"}, waits));
}

std::string verdict_lines(const CommandResult& result, uint32_t seed) {
  std::string text;
  for (const Comparison& c : compare_modes(result.points, seed)) {
    text += verdict_sentence(c, result.points);
  }
  return text;
}

std::string prediction_lines(const CommandResult& result) {
  std::string text;
  for (const PointResult& point : result.points) {
    if (!point.prediction || !point.timed()) continue;
    const double measured = median_of(point.samples), predicted = point.prediction->time_s;
    // The model has no stage of a router.
    const bool lacks_router = point.point.config.block.route_in_step;
    text += fmt::format("{}: predicted {:.2f} ms{}, measured {:.2f} ms ({:+.1f} %)\n", point.point.label,
                        1e3 * predicted, lacks_router ? " without the router" : "", 1e3 * measured,
                        100 * (predicted / measured - 1));
  }
  return text;
}

// Returns lines that say what the passed points were compared with. Points that were compared in the same way
// share a line, which shows the worst of them; the largest error of a wire may be another point's.
std::string passed_lines(const CommandResult& result) {
  struct Worst {
    const CheckResult* check = nullptr;
    WireError wire{};
  };
  std::map<std::string, Worst> worst_of;
  for (const PointResult& point : result.points) {
    if (point.check.status != CheckStatus::passed) continue;
    const std::string& other = point.check.same_bits_as;
    const std::string by =
        other.empty() ? "" : fmt::format(" (by process {}, whose results had the same bits)", other);
    Worst& worst = worst_of[fmt::format("check passed{}: {}: {}", by, point.check.what, point.check.how)];
    if (worst.check == nullptr || point.check.worst_bounds > worst.check->worst_bounds)
      worst.check = &point.check;
    if (worst.wire.tokens == 0 || point.check.wire.y_rms > worst.wire.y_rms) worst.wire = point.check.wire;
  }
  std::string text;
  for (const auto& [compared, worst] : worst_of)
    text += fmt::format("{}; largest error {:.1f} of {:g} bounds allowed ({}); in timed steps {}{}\n",
                        compared, worst.check->worst_bounds, kMaxBounds, worst.check->worst_number,
                        timed_step_words(*worst.check), to_string(worst.wire));
  return text;
}

std::string check_lines(const CommandResult& result) {
  std::string text = schedule_lines(result) + passed_lines(result);
  for (const PointResult& point : result.points) {
    const CheckResult& check = point.check;
    if (check.status == CheckStatus::passed) continue;
    text += fmt::format("{}: check {}{}{}; no throughput is given\n", point.point.label,
                        name_of(check.status), check.reason.empty() ? "" : ", " + check.reason,
                        check.worst_row.empty() ? "" : " (largest rel_err: " + check.worst_row + ")");
  }
  return text;
}

}  // namespace moehill
