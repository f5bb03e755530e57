// From a record back to the configuration and routing that it is of.
#include "moehill/cli/recorded_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "moehill/base/error.h"
#include "moehill/cli/bench_options.h"
#include "moehill/measure/points.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/predict/prediction.h"

namespace moehill {
namespace {

using Json = nlohmann::ordered_json;

// The command line that a record's configuration stands for.
std::vector<std::string> arguments_of(const Json& config) {
  static const std::vector<std::string> kNotShape = {
      "mesh",  "stage_timing", "iters",        "warmup",    "min_time",        "ci_target",
      "check", "preset",       "distribution", "run_alpha", "run_noise_scale", "distribution_devices"};
  std::vector<std::string> args;
  for (const auto& [key, value] : config.items()) {
    const bool skipped = std::find(kNotShape.begin(), kNotShape.end(), key) != kNotShape.end();
    if (skipped || value.is_null() || value == false) continue;
    if (key == "capacity_factor" && value == 0) continue;
    std::string name = "--" + key;
    std::replace(name.begin(), name.end(), '_', '-');
    args.push_back(name);
    if (!value.is_boolean()) args.push_back(value.is_string() ? value.get<std::string>() : value.dump());
  }
  return args;
}

// Not by options: those of a record of `none` say one device, and the routing may be of the ep beside it.
DistributionOptions distribution_of(const Json& config) {
  const auto number = [&](const char* key, double otherwise) {
    const auto found = config.find(key);
    return found != config.end() && found->is_number() ? found->get<double>() : otherwise;
  };
  DistributionOptions distribution =
      parse_distributions(config.at("distribution").get<std::string>()).front();
  distribution.run_alpha = number("run_alpha", distribution.run_alpha);
  distribution.run_noise_scale = number("run_noise_scale", distribution.run_noise_scale);
  distribution.devices = static_cast<int>(number("distribution_devices", distribution.devices));
  return distribution;
}

RecordedStep step_of_record(const Json& record) {
  const std::optional<BenchOptions> options = parse_bench_options(arguments_of(record.at("config")));
  const Json& layout = record.at("layout");
  const Point point =
      expand_points(*options, layout.at("devices").get<int>() * layout.at("threads_per_device").get<int>())
          .front();
  RecordedStep step;
  step.config = point.config;
  step.label = fmt::format("{} {}", to_string(point.config.shape), name_of(spread_of(point.config)));
  const DistributionOptions distribution = distribution_of(record.at("config"));
  step.routing = routing_of(point.config.shape, distribution, options->seed);
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
