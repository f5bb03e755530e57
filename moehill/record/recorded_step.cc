// From a record back to the configuration and routing that it is of.
#include "moehill/record/recorded_step.h"

#include <fmt/format.h>

#include <fstream>
#include <iostream>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/measure/points.h"

namespace moehill {
namespace {

RecordedStep step_of_record(const Json& record) {
  const Json& config = record.at("config");
  RecordedStep step;
  read_fields(config, step.config.shape);
  read_fields(config, step.config.block);
  read_fields(config, step.config);
  DistributionOptions distribution;
  read_fields(config, distribution);
  refuse_topk(step.config.shape.topk, step.config.shape.experts);
  refuse_overflow(step.config.shape, step.config.block.capacity);
  step.label = fmt::format("{} {}", to_string(step.config.shape), name_of(step.config.spread));
  step.routing = routing_of(step.config.shape, distribution, config.at("seed").get<uint32_t>());
  if (record.at("time_s").at("median").is_number()) step.time_s = record["time_s"]["median"];
  const Json& peak = record.at("peak");
  if (peak.at("tflops_measured").is_number()) step.peak_flops = 1e12 * peak["tflops_measured"].get<double>();
  if (peak.contains("instruction") && peak["instruction"].is_string()) step.instruction = peak["instruction"];
  const Json& read = peak.at("read_gbps");  // a number in records before 2026-11-28
  const Json& gigabytes = read.is_object() ? read.at("median") : read;
  if (gigabytes.is_number()) step.read_bytes_per_s = 1e9 * gigabytes.get<double>();
  for (const char* pass : {"forward", "backward"}) {
    for (const auto& [stage, seconds] : record.at("stages").at(pass).items())
      step.stages.push_back({stage, seconds});
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
      const Json record = Json::parse(line);
      if (record.value("command", "") != "bench") continue;
      steps.push_back(step_of_record(record));
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
