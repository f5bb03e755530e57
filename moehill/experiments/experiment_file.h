// An experiment file is a question, its hypothesis and its matrix of points, as TOML. This file reads it;
// plan.h resolves its points on this machine.
//
//     title = "Does top-k 8 pay off?"          # a smallest file
//     [fixed]
//     preset = "qwen1.5-moe-a2.7b"
//     [axes]
//     topk = [2, 8]
#pragma once

#include <string>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/store/results.h"

namespace moehill {

// AxisGroup is one axis, or several axes that move together ([[zip]]): values[i] has a value for every name.
// An axis of the product has one name.
struct AxisGroup {
  std::vector<std::string> names;
  std::vector<std::vector<StoredJson>> values;  // [step][name]
};

// SweptCommand is a command that a sweep can run.
enum class SweptCommand { bench, profile };
constexpr auto words(SweptCommand) { return std::array{"bench", "profile"}; }

// RunProcess says what one process measures: one point, or all points of a round, whose steps alternate.
enum class RunProcess { point, round };
constexpr auto words(RunProcess) { return std::array{"point", "round"}; }

// ExperimentFile is the file as values, with defaults filled in.
struct ExperimentFile {
  std::string name, path, toml;
  std::string title, hypothesis, next_action, launcher, reference_section, reference_defect;
  SweptCommand command = SweptCommand::bench;
  std::vector<std::string> expect;
  StoredJson baseline = StoredJson::object();
  StoredJson fixed = StoredJson::object();  // option (with _ for -): value
  std::vector<AxisGroup> groups;            // in the order of the file; the first is the slowest
  std::vector<StoredJson> exclude;          // in each: axis: value, or array of values
  int64_t rounds = 5, retries = 1;
  double timeout_s = 600;
  bool interleave = true;
  RunProcess process = RunProcess::point;
  // Each option with its place in the file: "file.toml:12:3".
  std::vector<std::pair<std::string, std::string>> places;

  std::vector<std::string> axis_names() const;
  std::string place_of(const std::string& option) const;  // the file alone if the option does not stand in it
};

// `options_of` returns the names of a command's options, such as parallel_mode. Throws InputError with line
// and column for TOML that cannot be read, unknown keys (with the nearest known one), values of the wrong
// type, axes that stand twice, and baselines, exclusions and expectations that name no axis or no value of
// it.
using OptionNames = std::vector<std::string> (*)(SweptCommand command);
ExperimentFile parse_experiment(const std::string& path, const std::string& toml, OptionNames options_of);
// Returns an experiment file to begin with, which can be run as it is.
std::string experiment_template();
ExperimentFile read_experiment(const std::string& path, OptionNames options_of);

}  // namespace moehill
