// A database in a temporary folder, with a small experiment, for the tests of the store.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "moehill/base/folder_fixture.h"
#include "moehill/store/journal.h"

namespace moehill {

// This title breaks pages and SQL statements that do not escape it.
inline constexpr const char* kHostileTitle = "</script><img src=x onerror=alert(1)>'; DROP TABLE runs;--";

inline StoredExperiment small_experiment(int64_t rounds, int64_t retries) {
  StoredExperiment experiment;
  experiment.name = "small";
  experiment.title = kHostileTitle;
  experiment.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 1.0"};
  experiment.baseline = {{"parallel_mode", "none"}};
  experiment.rounds = rounds;
  experiment.retries = retries;
  return experiment;
}

inline std::vector<StoredPoint> two_points() {
  std::vector<StoredPoint> points(2);
  for (int i = 0; i < 2; ++i) {
    points[i].identity = "identity-" + std::to_string(i);
    points[i].position = i;
    points[i].label = i == 0 ? "parallel_mode=none" : "parallel_mode=ep";
    points[i].axes = {{"parallel_mode", i == 0 ? "none" : "ep"}};
    points[i].arguments = {"--parallel-mode", i == 0 ? "none" : "ep"};
    points[i].is_baseline = i == 0;
  }
  return points;
}

inline StoredJson small_record(double seconds) {
  return {{"schema", "moehill/1"},
          {"tflops", 1 / seconds},
          {"check", {{"status", "passed"}}},
          {"time_s", {{"median", seconds}, {"samples", {seconds, 2 * seconds}}}}};
}

inline AttemptResult done_in(double seconds) {
  AttemptResult result;
  result.state = RunState::done;
  result.seconds = seconds;
  result.records = {small_record(seconds)};
  return result;
}

}  // namespace moehill
