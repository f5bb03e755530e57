// Implementation of predict/simulate_report.h: texts and records of simulated steps.
#include "moehill/predict/simulate_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/json_fields.h"
#include "moehill/base/table.h"
#include "moehill/predict/advice.h"
#include "moehill/predict/binding.h"
#include "moehill/predict/saturation.h"

namespace moehill {
namespace {

constexpr size_t kLinksShown = 5, kLinksRecorded = 32;
// Groups were compared with single messages on up to this many devices (docs/performance.md).
constexpr int kMostCompared = 512;

std::string bar(double share) {
  return std::string(static_cast<size_t>(std::lround(30 * std::clamp(share, 0.0, 1.0))), '#');
}

std::string ms(double seconds) { return fmt::format("{:.3f}", 1e3 * seconds); }

// Returns what a stage does: work, messages, or both at once.
std::string kind_of(const ProgramStage& stage) {
  if (stage.is_exchange()) return stage.is_work() ? "both" : "messages";
  return "work";
}

// StageFigures are the seconds of one stage over the devices.
struct StageFigures {
  double mean_s = 0, max_s = 0, critical_s = 0;
};

// Returns the mean and the longest time of a stage over devices, and its part of the critical path.
StageFigures figures_of(const SimulatedStep& step, size_t stage) {
  StageFigures figures;
  const std::vector<TimeSpan>& intervals = step.simulation.stages[stage];
  for (const TimeSpan& i : intervals) {
    figures.mean_s += (i.end - i.begin) / static_cast<double>(intervals.size());
    figures.max_s = std::max(figures.max_s, i.end - i.begin);
  }
  figures.critical_s = step.critical[stage].end - step.critical[stage].begin;
  return figures;
}

std::string stage_table(const SimulatedStep& step) {
  std::vector<std::vector<std::string>> rows;
  for (size_t s = 0; s < step.program.stages.size(); ++s) {
    const ProgramStage& stage = step.program.stages[s];
    const StageFigures f = figures_of(step, s);
    const PathPiece& piece = step.critical[s];
    rows.push_back({stage.name, stage.backward ? "backward" : "forward", kind_of(stage), ms(f.mean_s),
                    ms(f.max_s), ms(f.critical_s),
                    fmt::format("{:.1f}", 100 * f.critical_s / step.simulation.seconds),
                    std::to_string(piece.device),
                    piece.waits_for == piece.device ? "-" : std::to_string(piece.waits_for)});
  }
  return format_table({"stage", "pass", "kind", "mean ms", "slowest ms", "critical ms", "% of step",
                       "on device", "waits for"},
                      rows);
}

// Returns the share of the time in which the link is busy.
double utilisation(const LinkLoad& link, double seconds) {
  return static_cast<double>(link.bytes) / (link.bytes_per_s * seconds);
}

// Returns all links, the one with the longest busy time first.
std::vector<LinkLoad> fullest_links(const SimulatedStep& step) {
  std::vector<LinkLoad> links = step.simulation.links;
  std::stable_sort(links.begin(), links.end(), [](const LinkLoad& a, const LinkLoad& b) {
    return static_cast<double>(a.bytes) / a.bytes_per_s > static_cast<double>(b.bytes) / b.bytes_per_s;
  });
  return links;
}

// Returns what a flow stands for and, with groups, how far they are from single messages.
std::string grouping_text(const SimulatedStep& step) {
  const int group = step.program.group, per_node = step.cluster.devices_per_node;
  if (group == 1) return "one for each message of a stage";
  std::string text =
      "grouped: what goes from one node to another is one flow, and so is what a device sends within its "
      "node";
  if (group > per_node) {
    text += fmt::format(
        "; and what goes from a node to a group of {} others; flows whose ends are within {:g} % of a flow's "
        "time end at once",
        group / per_node, 100 * kEndTogether);
  }
  text += fmt::format(
      "\ngroups change no byte; in the comparisons of docs/performance.md, on 64 to {} devices, they changed "
      "steps by -9 to +4 % and messages alone by -13 to +10 %{}; --grouping 1 simulates single messages",
      kMostCompared, step.num_devices > kMostCompared ? "; on more devices this is not known" : "");
  return text;
}

const char* form_text(CollectiveForm form) {
  constexpr const char* kMeanings[] = {
      "direct: every device sends to every other one",
      "in a ring: each device passes slices on to the next; rows by the routing go direct",
      "by trees: to the devices 1, 2, 4, ... on", "by two levels: once to each node, and inside of it"};
  return kMeanings[static_cast<size_t>(form)];
}

std::string link_lines(const SimulatedStep& step) {
  const std::vector<LinkLoad> links = fullest_links(step);
  std::string text = links.empty() ? "" : "\nfullest links\n";
  for (size_t i = 0; i < std::min(kLinksShown, links.size()); ++i) {
    const double used = utilisation(links[i], step.simulation.seconds);
    text += fmt::format("  {:<28} {:>9.3f} GB at {:>6.1f} GB/s: busy {:>5.1f} % of the step {}\n",
                        links[i].name, static_cast<double>(links[i].bytes) / 1e9, links[i].bytes_per_s / 1e9,
                        100 * used, bar(used));
  }
  return text;
}

Json config_json(const SimulateOptions& o, const SimulatedStep& step) {
  MoeShape shape = o.shape;
  shape.tokens = step.tokens;
  Json json = {{"preset", o.preset.empty() ? Json(nullptr) : Json(o.preset)}};
  write_fields(json, shape);
  json["router"] = router_text(shape.router, o.distribution);
  json.update(Json{{"bench_pass", name_of(o.pass)},
                   {"distribution", to_string(o.distribution)},
                   {"ep_path", name_of(step.path)},
                   {"nodes", step.cluster.num_nodes()},
                   {"devices", step.num_devices},
                   {"units_per_device", step.units_per_device},
                   {"hardware", o.hardware},
                   {"scaling", name_of(o.scaling)},
                   {"exact_devices", o.exact_devices},
                   {"grouping", o.grouping},
                   {"collective_form", name_of(o.form)},
                   {"seed", o.seed}});
  if (step.wire != Wire::native) json["wire"] = name_of(step.wire);
  return json;
}

Json stages_json(const SimulatedStep& step) {
  Json stages = Json::array();
  for (size_t s = 0; s < step.program.stages.size(); ++s) {
    const ProgramStage& stage = step.program.stages[s];
    const StageFigures f = figures_of(step, s);
    const PathPiece& piece = step.critical[s];
    stages.push_back({{"stage", stage.name},
                      {"backward", stage.backward},
                      {"kind", kind_of(stage)},
                      {"mean_s", f.mean_s},
                      {"max_s", f.max_s},
                      {"critical_s", f.critical_s},
                      {"critical_device", piece.device},
                      {"waits_for", piece.waits_for == piece.device ? Json(nullptr) : Json(piece.waits_for)},
                      {"bytes", stage.is_exchange() ? Json(stage.total_bytes()) : Json(nullptr)}});
  }
  return stages;
}

Json links_json(const SimulatedStep& step) {
  Json links = Json::array();
  for (const LinkLoad& link : fullest_links(step)) {
    if (links.size() == kLinksRecorded) break;
    links.push_back({{"name", link.name},
                     {"bytes", link.bytes},
                     {"bytes_per_s", link.bytes_per_s},
                     {"utilisation", utilisation(link, step.simulation.seconds)}});
  }
  return links;
}

}  // namespace

CriticalSeconds critical_seconds(const SimulatedStep& step) {
  CriticalSeconds seconds;
  for (const PathPiece& piece : step.critical) {
    const ProgramStage& stage = step.program.stages[piece.stage];
    const double length = piece.end - piece.begin;
    double work = stage.is_exchange() ? 0 : length;
    // If both run at once, the time by which messages last longer than the work counts as messages.
    if (stage.is_exchange() && stage.is_work())
      work = std::min(length, stage.seconds[static_cast<size_t>(piece.device)]);
    seconds.work += work;
    seconds.messages += length - work;
  }
  return seconds;
}

std::string simulation_answer(const std::vector<SimulatedStep>& steps, Scaling scaling) {
  const SimulatedStep &first = steps.front(), &last = steps.back();
  if (steps.size() > 1 && scaling != Scaling::none)
    return fmt::format("Simulated: {} on {} has {:.2f} times the tokens/s of {}, an efficiency of {:.2f}.\n",
                       name_of(last.path), count_text(last.num_devices, "device"),
                       last.tokens_per_s() / first.tokens_per_s(),
                       first.num_devices == 1 ? "one device" : fmt::format("{} devices", first.num_devices),
                       scaling_efficiency(last, first));
  if (steps.size() > 1)
    return fmt::format("Simulated: {} is the fastest path, {} ms a step; {} is next, {:.2f} times as long.\n",
                       name_of(first.path), ms(first.simulation.seconds), name_of(steps[1].path),
                       steps[1].simulation.seconds / first.simulation.seconds);
  return fmt::format("Simulated: a step takes {} ms by {}; messages are {:.0f} % of it.\n",
                     ms(first.simulation.seconds), name_of(first.path),
                     100 * critical_seconds(first).messages / first.simulation.seconds);
}

std::string step_report(const SimulatedStep& step) {
  const CriticalSeconds critical = critical_seconds(step);
  std::string text = fmt::format(
      "\n{}: {} ms, {:.0f} tokens/s, {:.1f} GF/s a device; critical path {} ms of work, {} ms of messages\n",
      name_of(step.path), ms(step.simulation.seconds), step.tokens_per_s(),
      step.flops / step.simulation.seconds / 1e9 / step.num_devices, ms(critical.work),
      ms(critical.messages));
  text += fmt::format("on {}; {}, {}\n", describe(step.cluster),
                      count_text(step.simulation.num_flows, "flow"), grouping_text(step));
  if (step.form != CollectiveForm::direct) text += fmt::format("collectives {}\n", form_text(step.form));
  text += binding_text(level_seconds(step)) + "\n";
  text += saturation_text(step);
  text += fmt::format("largest load over mean load: {:.3f} (experts), {:.3f} (devices)\n",
                      step.expert_max_over_mean, step.device_max_over_mean);
  for (const SkewProperty& p : step.skew)
    text += fmt::format("{} {:.4g}, asked {:.4g}\n", p.name, p.achieved, p.asked);
  return text + stage_table(step) + link_lines(step);
}

std::string path_table(const std::vector<SimulatedStep>& steps) {
  double slowest = 0;
  for (const SimulatedStep& step : steps) slowest = std::max(slowest, step.simulation.seconds);
  std::vector<std::vector<std::string>> rows;
  for (const SimulatedStep& step : steps) {
    const CriticalSeconds critical = critical_seconds(step);
    rows.push_back(
        {name_of(step.path), ms(step.simulation.seconds), fmt::format("{:.0f}", step.tokens_per_s()),
         fmt::format("{:.1f}", 100 * critical.messages / step.simulation.seconds),
         fmt::format("{:.3f}", static_cast<double>(step.program.total_bytes()) / step.num_devices / 1e9),
         fmt::format("{:.3f}", static_cast<double>(step.program.network_bytes()) / step.num_devices / 1e9),
         fmt::format("{:.1f}", step.memory_bytes / (1 << 30)), name_of(binding_level(level_seconds(step))),
         fmt::format("{:.1f}", step.plan_s + step.simulate_s),
         fmt::format("{:<30}", bar(step.simulation.seconds / slowest))});
  }
  return format_table({"path", "ms", "tokens/s", "% messages", "GB sent a device", "between nodes",
                       "GiB a device", "bound by", "s to simulate", "time"},
                      rows);
}

std::string scaling_table(const std::vector<SimulatedStep>& steps, Scaling scaling,
                          const Hardware& hardware) {
  std::vector<std::vector<std::string>> rows;
  for (const SimulatedStep& step : steps) {
    const double efficiency = scaling_efficiency(step, steps.front());
    const CriticalSeconds critical = critical_seconds(step);
    rows.push_back({layout_text(hardware, step.num_devices, step.units_per_device),
                    std::to_string(step.tokens), ms(step.simulation.seconds),
                    fmt::format("{:.0f}", step.tokens_per_s()),
                    fmt::format("{:.1f}", 100 * critical.messages / step.simulation.seconds),
                    fmt::format("{:.3f}", step.device_max_over_mean), fmt::format("{:.3f}", efficiency),
                    fmt::format("{:<30}", bar(efficiency))});
  }
  return fmt::format("\n{} scaling\n", name_of(scaling)) +
         format_table({"layout", "tokens", "ms", "tokens/s", "% messages", "load max/mean", "efficiency", ""},
                      rows) +
         efficiency_text(steps);
}

std::string simulator_text(const std::vector<SimulatedStep>& steps, double all_s) {
  double plan_s = 0, simulate_s = 0;
  int64_t bytes = 0;
  for (const SimulatedStep& step : steps) {
    plan_s += step.plan_s, simulate_s += step.simulate_s;
    bytes = std::max(bytes, step.peak_rss_bytes);
  }
  return fmt::format(
      "\nthe simulator took {:.1f} s and at most {}: {:.1f} s to route tokens, {:.1f} s to count and plan, "
      "{:.1f} s "
      "for the messages\n",
      all_s, gib(static_cast<double>(bytes)), all_s - plan_s - simulate_s, plan_s, simulate_s);
}

std::string simulation_closing(const SimulateOptions& o, const Hardware& hardware) {
  // The tokens of --tokens are those of all devices, which `weak` would have to change.
  std::string next = "--compare-paths, in place of --ep-path and --scaling, ranks all paths";
  if (o.compare_paths)
    next = fmt::format(
        "--scaling {} with one --ep-path, in place of --compare-paths, simulates 1, 2, 4 and more devices",
        o.shape.tokens > 0 ? "strong" : "weak");
  return fmt::format(
      "\nHow sure this is:\nNothing ran: times are of the curves and links of {}. moehill simulate "
      "--hardware {} --record FILE, with steps that ran there, says how far simulated times are off.\nNext: "
      "{}.\n",
      hardware.name, shell_word(o.hardware == "probe" ? "this" : o.hardware), next);
}

Json simulation_record(const SimulateOptions& o, const SimulatedStep& step, int seq) {
  const CriticalSeconds critical = critical_seconds(step);
  // Where a record of bench has the same figure, this record uses the same name.
  Json skew = Json::array();
  for (const SkewProperty& p : step.skew) {
    skew.push_back(
        {{"property", p.name}, {"asked", p.asked}, {"achieved", p.achieved}, {"lo", p.lo}, {"hi", p.hi}});
  }
  return {
      {"schema", "moehill/1"},
      {"command", "simulate"},
      {"seq", seq},
      {"config", config_json(o, step)},
      {"cluster", describe(step.cluster)},
      {"time_s", step.simulation.seconds},
      {"tokens_per_s", step.tokens_per_s()},
      {"tflops", step.flops / step.simulation.seconds / 1e12},
      {"critical", {{"work_s", critical.work}, {"messages_s", critical.messages}}},
      {"stages", stages_json(step)},
      {"links", links_json(step)},
      {"load",
       {{"min", step.load.min}, {"max", step.load.max}, {"std", step.load.std}, {"cv", step.load.cv}}},
      {"balance",
       {{"expert_max_over_mean", step.expert_max_over_mean},
        {"device_max_over_mean", step.device_max_over_mean}}},
      {"skew", skew},
      {"bound_by", name_of(binding_level(level_seconds(step)))},
      {"comm", {{"sent_bytes", step.program.total_bytes()}, {"network_bytes", step.program.network_bytes()}}},
      {"memory", {{"predicted_bytes", step.memory_bytes}}},
      {"simulator",
       {{"flows", step.simulation.num_flows},
        {"group", step.program.group},
        {"delivered_bytes", step.simulation.delivered_bytes},
        {"plan_s", step.plan_s},
        {"simulate_s", step.simulate_s},
        {"peak_rss_bytes", step.peak_rss_bytes}}}};
}

}  // namespace moehill
