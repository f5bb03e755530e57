// `moehill simulate` predicts a step on a cluster that is not here, by simulating the messages of a real
// routing in SimGrid (moehill/simulation). It can compare paths, scale the number of devices, and check
// itself against runs.
//
//     moehill simulate --devices 256 --preset deepseek-v3 --tokens-per-device 4096 --compare-paths
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/cli/predict_options.h"
#include "moehill/cli/simulate_options.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/interruption.h"
#include "moehill/predict/advice.h"
#include "moehill/predict/simulate_report.h"
#include "moehill/validate/simulate_validation.h"

namespace moehill {
namespace {

// Returns the numbers of devices to simulate, the largest first: its tokens are routed once, and smaller
// sizes use the first of these tokens.
std::vector<int> sizes_of(const SimulateOptions& o) {
  std::vector<int> sizes = {static_cast<int>(o.devices)};
  if (o.scaling == Scaling::none) return sizes;
  const int least = o.distribution.kind == Distribution::hot_device
                        ? 2
                        : 1;  // alone, the hot device would simply have all the load
  int size = 1;
  while (2 * size < o.devices) size *= 2;
  for (; size >= least; size /= 2) {
    if (size < o.devices) sizes.push_back(size);
  }
  return sizes;
}

// Throws InputError if one of the sizes cannot be simulated, before the first one is.
void refuse_impossible_sizes(const SimulateOptions& o, const Hardware& hardware) {
  for (const int size : sizes_of(o)) {
    make_cluster(hardware, size, o.shape.dtype);
    DistributionOptions distribution = o.distribution;
    distribution.devices = size;
    const RouterRule rule = used_router(o.shape.router, distribution);
    refuse_impossible(distribution, num_logits(rule, o.shape.experts), o.shape.topk, rule.zero_experts);
    if (o.tokens_at(size) < size) {
      throw input_error("--tokens", std::to_string(o.tokens_at(size)), fmt::format("one a device, {}", size),
                        "choose more tokens");
    }
  }
}

// SimulatedSteps are the steps that were asked for, or those before a signal.
struct SimulatedSteps {
  std::vector<SimulatedStep> steps;
  size_t asked = 0;
  int signal = 0;
};

// Simulates all sizes and paths and shows progress. Once there is a step, a signal is noted and ends the loop
// after the step that is under way.
SimulatedSteps simulate_all(const SimulateOptions& o, const Hardware& hardware) {
  SimulatedSteps all;
  std::vector<SimulatedStep>& steps = all.steps;
  std::optional<Interruption> interruption;
  RoutingSource source(o);
  const int64_t most_tokens = o.tokens_at(o.devices);
  // The estimate of the remaining time assumes that a step costs in proportion to its messages, which grow
  // with the square of the devices.
  const auto messages = [](int size) { return static_cast<double>(size) * size; };
  const std::vector<int> sizes = sizes_of(o);
  double total = 0;
  for (const int size : sizes) total += messages(size) * static_cast<double>(o.paths().size());
  all.asked = sizes.size() * o.paths().size();
  std::optional<Pace>
      pace;  // starts when the tokens of the first size are routed, since routing is not part of the estimate
  for (const int size : sizes) {
    if (all.signal != 0) break;
    const std::string tokens = "routing " + count_text(o.tokens_at(size), "token");
    show_progress(tokens);
    const Routing& routing = source.route(o.tokens_at(size), most_tokens, size, [&](double part) {
      show_progress(fmt::format("{}: {:.0f} %", tokens, 100 * part));
    });
    if (!pace) pace.emplace(total, fmt::format("{} to simulate", count_text(all.asked, "step")), tell);
    for (const Spread path : o.paths()) {
      if (all.signal != 0) break;
      const std::string what = fmt::format("simulating {} on {}", name_of(path), count_text(size, "device"));
      show_progress(what);
      steps.push_back(simulate_step(o, hardware, path, size, routing, [&](double part) {
        show_progress(fmt::format("{}: {:.0f} %", what, 100 * part));
      }));
      pace->done(messages(size));
      if (!interruption) interruption.emplace();
      if (steps.size() < all.asked) all.signal = interruption->signal();
    }
  }
  show_progress("");
  // Tables grow from small to large, although the largest was simulated first.
  if (o.scaling != Scaling::none) std::reverse(steps.begin(), steps.end());
  if (o.compare_paths) {
    std::stable_sort(steps.begin(), steps.end(), [](const SimulatedStep& a, const SimulatedStep& b) {
      return a.simulation.seconds < b.simulation.seconds;
    });
  }
  return all;
}

std::string report_of(const SimulateOptions& o, const std::vector<SimulatedStep>& steps,
                      const Hardware& hardware) {
  if (o.compare_paths) return path_table(steps) + step_report(steps.front());
  if (o.scaling != Scaling::none)
    return step_report(steps.back()) + scaling_table(steps, o.scaling, hardware);
  return step_report(steps.front());
}

void write_records(const SimulateOptions& o, const std::vector<SimulatedStep>& steps) {
  std::string lines;
  for (size_t i = 0; i < steps.size(); ++i) {
    lines += json_line(simulation_record(o, steps[i], static_cast<int>(i)));
  }
  write_json_lines(o.json, lines);
}

// Runs the shapes of --validate here, and compares them with what is simulated of them.
int validate_simulation(const SimulateOptions& o, const Hardware& hardware) {
  const int num_shapes = static_cast<int>(o.validate);
  warn_if_busy(kMostDevicesRun);
  CountedShapes counted(num_simulated_shapes(num_shapes));
  const std::vector<SimulatedRun> runs =
      simulate_shapes(num_shapes, o.seed, hardware, [&] { return counted.done(); });
  show(counted.line() + simulated_runs_report(runs, hardware));
  return counted.exit_status();
}

}  // namespace

int simulate_command(const std::vector<std::string>& args) {
  const std::optional<SimulateOptions> options = parse_simulate_options(args);
  if (!options) return kExitDone;
  require_simulator();
  const ChosenHardware chosen = choose_hardware(options->hardware);
  const Hardware& hardware = chosen.hardware;
  tell(chosen.note);  // of an old probe
  if (options->validate > 0) return validate_simulation(*options, hardware);
  if (!options->record.empty()) {
    show(simulated_runs_report(simulate_records(options->record, hardware), hardware));
    return kExitDone;
  }
  // Everything that can be refused is refused here, because routing millions of tokens takes minutes.
  refuse_impossible_sizes(*options, hardware);
  refuse_impossible_messages(*options, hardware);
  require_writable_json(options->json);
  std::FILE* table = table_stream(options->json);
  MoeShape shape = options->shape;
  shape.tokens = options->tokens_at(options->devices);
  show(fmt::format("a step {} of {} on {} of {}: {}\n", name_of(options->pass), to_string(shape),
                   count_text(options->devices, "device"), hardware.name,
                   layout_text(hardware, static_cast<int>(options->devices), hardware.units_per_device)),
       table);
  const double begin = seconds();
  const SimulatedSteps all = simulate_all(*options, hardware);
  const std::vector<SimulatedStep>& steps = all.steps;
  const std::string simulator = simulator_text(steps, seconds() - begin);
  write_and_show({[&] { write_records(*options, steps); }}, [&] {
    show(fmt::format("{}{}{}{}{}", simulation_answer(steps, options->scaling),
                     interrupted_line(all.signal, steps.size(), all.asked, "step"),
                     report_of(*options, steps, hardware), simulator, simulation_closing(*options, hardware)),
         table);
  });
  return all.signal == 0 ? kExitDone : kExitSignal + all.signal;
}

}  // namespace moehill
