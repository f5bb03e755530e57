#include "moehill/cli/noise_floor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "moehill/bench/comparison.h"
#include "moehill/bench/schedule.h"
#include "moehill/experiments/child.h"
#include "moehill/quiet/environment.h"
#include "moehill/record/record.h"
#include "moehill/report/results_view.h"

namespace moehill {
namespace {

constexpr double kLimitSeconds = 600;  // of one run

StoredJson record_of(const ChildResult& child) {
  const StoredJson record = StoredJson::parse(child.output, nullptr, false);
  if (child.end == ChildEnd::exited && child.status == 0 && record.is_object() &&
      part_of<Figure>(record, "tflops"))
    return record;
  throw std::runtime_error(fmt::format("a run of the noise floor gave no single figure (status {}): {}",
                                       child.status,
                                       child.error_tail.substr(0, child.error_tail.find('\n'))));
}

}  // namespace

std::optional<StoredNoiseFloor> measure_noise_floor(const std::vector<std::string>& arguments,
                                                    int64_t rounds) {
  std::vector<std::string> command = {"/proc/self/exe", "bench"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(), {"--json", "-"});
  StopSignals stop;
  StoredNoiseFloor floor;
  std::vector<double> halves[2];
  for (int64_t round = 0; round < rounds; ++round) {
    for (const int half : round_order(round, 2)) {
      const ChildResult child = run_child(command, kLimitSeconds, stop.file());
      if (child.end == ChildEnd::stopped || stop.wait(0)) return std::nullopt;
      const StoredJson record = record_of(child);
      halves[half].push_back(record["time_s"]["median"].get<double>());
      if (round > 0) continue;
      floor.machine = machine_name(record["env"]);
      floor.build = record["env"].value("build", "");
    }
  }
  floor.time_utc = utc_now();
  floor.rounds = kFloorRounds;
  floor.floor = noise_floor(halves[0], halves[1], kFloorRounds, 0);
  floor.json = {{"arguments", arguments}, {"a", halves[0]}, {"b", halves[1]}};
  return floor;
}

std::string noise_floor_text(const StoredNoiseFloor& floor) {
  const std::vector<double> a = floor.json["a"], b = floor.json["b"];
  return fmt::format(
      "{} rounds of the same point twice differ by {}; over {} rounds equal points stay within {:.2f} % in "
      "19 "
      "of 20 comparisons\n",
      a.size(), change_text(speed_ratio(a, b, 0)), floor.rounds, 100 * floor.floor);
}

}  // namespace moehill
