// Implementation of predict/expectation_report.h.
#include "moehill/predict/expectation_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/table.h"
#include "moehill/predict/advice.h"
#include "moehill/predict/binding.h"

namespace moehill {
namespace {

using Json = nlohmann::ordered_json;

// Returns a table with a line for each stage of one spread: what its time consists of, and its work.
std::string parts_of_stages(const Prediction& p) {
  std::vector<std::vector<std::string>> rows;
  const auto ms = [](double s) { return fmt::format("{:.3f}", 1e3 * s); };
  for (const StagePrediction& s : p.stages) {
    rows.push_back({name_of(s.stage), ms(s.seconds()), fmt::format("{:.1f}", 100 * s.seconds() / p.time_s),
                    ms(s.gemm_s), ms(s.rows_s), ms(s.link_s), ms(s.wait_s),
                    fmt::format("{:.3f}", s.flops / 1e9), fmt::format("{:.2f}", s.memory_bytes / 1e6),
                    fmt::format("{:.2f}", s.link_bytes / 1e6)});
  }
  return format_table(
      {"stage", "ms", "%", "products", "rows", "links", "wait", "GFLOP", "memory MB", "link MB"}, rows);
}

// Returns milliseconds and share of a stage, "12.300 (40.1 %)"; "-" if the step does not have the stage.
std::string stage_cell(const Prediction& p, Stage stage) {
  const auto found = std::find_if(p.stages.begin(), p.stages.end(),
                                  [&](const StagePrediction& s) { return s.stage == stage; });
  if (found == p.stages.end()) return "-";
  return fmt::format("{:.3f} ({:.1f} %)", 1e3 * found->seconds(), 100 * found->seconds() / p.time_s);
}

// Returns one table of the stages of all spreads, with a column for each.
std::string stages_side_by_side(const std::vector<ExpectedSpread>& expected) {
  std::vector<std::string> header = {"stage"};
  for (const ExpectedSpread& e : expected) header.push_back(name_of(e.config.spread));
  std::vector<std::vector<std::string>> rows;
  for (const Stage stage : all_values<Stage>()) {
    std::vector<std::string> row = {name_of(stage)};
    for (const ExpectedSpread& e : expected) row.push_back(stage_cell(e.prediction, stage));
    if (std::any_of(row.begin() + 1, row.end(), [](const std::string& cell) { return cell != "-"; }))
      rows.push_back(row);
  }
  return format_table(header, rows);
}

}  // namespace

std::string expectation_answer(std::vector<ExpectedSpread> expected) {
  std::stable_sort(expected.begin(), expected.end(), [](const ExpectedSpread& a, const ExpectedSpread& b) {
    return a.prediction.time_s < b.prediction.time_s;
  });
  const auto name = [&](size_t i) { return name_of(expected[i].config.spread); };
  const double best = expected[0].prediction.time_s;
  if (expected.size() == 1)
    return fmt::format("Predicted: a step takes {:.3f} ms ({}).\n", 1e3 * best, name(0));
  return fmt::format("Predicted: {} is the fastest, {:.3f} ms a step; {} is next, {:.2f} times as long.\n",
                     name(0), 1e3 * best, name(1), expected[1].prediction.time_s / best);
}

nlohmann::ordered_json expectation_json(const ExpectedSpread& e, const Hardware& hardware,
                                        const DistributionOptions& distribution, uint32_t seed) {
  Json stages = Json::object();
  for (const StagePrediction& stage : e.prediction.stages) {
    stages[name_of(stage.stage)] = {{"time_s", stage.seconds()},     {"gemm_s", stage.gemm_s},
                                    {"rows_s", stage.rows_s},        {"link_s", stage.link_s},
                                    {"wait_s", stage.wait_s},        {"overhead_s", stage.overhead_s},
                                    {"flops", stage.flops},          {"memory_bytes", stage.memory_bytes},
                                    {"link_bytes", stage.link_bytes}};
  }
  return {{"schema", "moehill/1"},
          {"command", "predict"},
          {"hardware", hardware.name},
          {"peak_flops", hardware.peak(e.config.shape.dtype)},
          {"peak_instruction", hardware.instruction(e.config.shape.dtype)},
          {"shape", to_string(e.config.shape)},
          {"expert_form", to_string(e.config.shape.form)},
          {"router", router_text(e.config.shape.router, distribution)},
          {"bench_pass", name_of(e.config.block.pass)},
          {"distribution", to_string(distribution)},
          {"seed", seed},
          {"wire", name_of(e.config.wire)},
          {"spread", name_of(e.config.spread)},
          {"nodes", nodes_of(hardware, e.config.num_devices)},
          {"devices", e.config.num_devices},
          {"units_per_device", e.config.threads_per_device},
          {"time_s", e.prediction.time_s},
          {"memory_bytes", e.prediction.memory_bytes},
          {"sent_bytes", e.prediction.sent_bytes},
          {"flops", e.prediction.flops},
          {"bound_by", name_of(binding_level(level_seconds(e.prediction)))},
          {"stages", stages}};
}

std::string stage_table(const std::vector<ExpectedSpread>& expected) {
  std::string text = "\nStages in ms, on the slowest device\n";
  text += expected.size() == 1 ? parts_of_stages(expected[0].prediction) : stages_side_by_side(expected);
  for (const ExpectedSpread& e : expected)
    text += fmt::format("{}: {}\n", name_of(e.config.spread), binding_text(level_seconds(e.prediction)));
  return text;
}

std::string spread_table(const std::vector<ExpectedSpread>& expected, const Hardware& hardware) {
  std::vector<std::vector<std::string>> rows;
  const double best = expected.front().prediction.time_s;
  for (const ExpectedSpread& e : expected) {
    const Prediction& p = e.prediction;
    rows.push_back(
        {name_of(e.config.spread), layout_text(hardware, e.config.num_devices, e.config.threads_per_device),
         fmt::format("{:.3f}", 1e3 * p.time_s), fmt::format("{:.2f}", p.time_s / best),
         fmt::format("{:.1f}", p.flops / p.time_s / 1e9), fmt::format("{:.2f}", p.sent_bytes / 1e6),
         fmt::format("{:.2f}", p.memory_bytes / (1 << 30)), name_of(binding_level(level_seconds(p)))});
  }
  return format_table(
      {"spread", "layout", "ms", "of the best", "GF/s", "sent MB", "GiB a device", "bound by"}, rows);
}

}  // namespace moehill
