// Implementation of climb/noise_floor.h.
#include "moehill/climb/noise_floor.h"

#include <fmt/format.h>

#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"
#include "moehill/quiet/environment.h"
#include "moehill/report/results_view.h"

namespace moehill {

std::optional<StoredNoiseFloor> measure_noise_floor(const std::vector<std::string>& arguments, bool together,
                                                    const TurnOptions& options) {
  std::vector<std::string> bench = {"/proc/self/exe", "bench"};
  bench.insert(bench.end(), arguments.begin(), arguments.end());
  bench.insert(bench.end(), {"--json", "-"});
  std::vector<TurnCommand> commands = {{"the noise floor", bench}, {"the noise floor again", bench}};
  if (together) {
    commands.pop_back();
    // Two points that change nothing, so each gives one record.
    commands[0].arguments.insert(commands[0].arguments.end(), {"-L", "point", "", "-L", "point", ""});
  }
  const Turns turns = run_in_turn(commands, options);
  if (turns.interrupted) return std::nullopt;
  const std::vector<double> a = turns.seconds_of(0, 0);
  const std::vector<double> b = together ? turns.seconds_of(0, 1) : turns.seconds_of(1, 0);
  const StoredJson env = turns.records[0][0][0]["env"];
  StoredNoiseFloor floor;
  floor.machine = machine_name(env);
  floor.build = env.value("build", "");
  floor.time_utc = utc_now();
  floor.rounds = kFloorRounds;
  floor.floor = noise_floor(a, b, kFloorRounds, 0);
  floor.json = {{"arguments", arguments}, {"together", together}, {"a", a}, {"b", b}};
  return floor;
}

std::string noise_floor_text(const StoredNoiseFloor& floor) {
  const std::vector<double> a = floor.json["a"], b = floor.json["b"];
  return fmt::format(
      "{} of the same point twice{} differ by {}; over {} equal points stay within {:.2f} % in 19 of 20 "
      "comparisons\n",
      count_text(std::ssize(a), "round"), is_floor_together(floor) ? " in one process" : "",
      change_text(speed_ratio(a, b, 0)), count_text(floor.rounds, "round"), 100 * floor.floor);
}

}  // namespace moehill
