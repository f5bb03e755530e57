// Reads the configuration and the routing of a step back from its record.
#include "moehill/measure/recorded_step.h"

#include <fmt/format.h>

#include <fstream>
#include <iostream>

#include "moehill/base/error.h"
#include "moehill/measure/points.h"
#include "moehill/record/record.h"
#include "moehill/routing/placement.h"

namespace moehill {
namespace {

RecordedStep step_of(const Record& record) {
  RecordedStep step;
  step.config = record.config.run;
  refuse_topk(step.config.shape.topk, step.config.shape.experts);
  refuse_overflow(step.config.shape, step.config.block.capacity);
  step.label = fmt::format("{} {}", to_string(step.config.shape), name_of(step.config.spread));
  step.routing = routing_of(step.config.shape, record.config.distribution, record.config.measuring.seed,
                            step.config.block.capacity.spares);
  if (!step.config.placement.empty()) {
    require_placement("--record", {step.config.placement}, step.config.shape.experts,
                      step.config.num_devices);
    step.routing = place(step.routing, {step.config.placement});
    step.config = over_places(step.config);
  }
  step.time_s = record.time_s.median.value_or(0);
  step.peak_flops = 1e12 * record.peak.tflops_measured.value_or(0);
  step.instruction = record.peak.instruction.value_or("");
  step.read_bytes_per_s = 1e9 * record.peak.read_gbps.median.value_or(0);
  for (const NamedNumbers* stages : {&record.stages.forward, &record.stages.backward}) {
    for (const auto& [stage, seconds] : *stages) step.stages.push_back({stage, seconds});
  }
  return step;
}

}  // namespace

std::vector<RecordedStep> steps_of_records(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file)
      throw input_error("--record", path, "a file that can be read", "write one by moehill bench --json");
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<RecordedStep> steps;
  int line_number = 0;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    if (line.empty()) continue;
    try {
      const Json json = Json::parse(line);
      if (json.value("command", "") != "bench") continue;
      Record record;
      read_fields(json, record);
      steps.push_back(step_of(record));
    } catch (const nlohmann::json::exception& error) {
      throw input_error("--record", fmt::format("{}:{} ({})", path, line_number, error.what()),
                        "records of moehill bench", "write them by moehill bench --json");
    }
  }
  if (steps.empty())
    throw input_error("--record", path + " without a record of bench", "at least one",
                      "write one by moehill bench --json");
  return steps;
}

}  // namespace moehill
