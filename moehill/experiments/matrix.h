// Matrix holds the points of an experiment file, in order: the product of its groups without the exclusions.
// Nothing is resolved yet, so a point is only options and their values.
//
//     for (const MatrixPoint& point : expand_matrix(file)) fmt::print("{}\n", point.label);
#pragma once

#include <string>
#include <vector>

#include "moehill/experiments/experiment_file.h"

namespace moehill {

// MatrixPoint is one combination.
struct MatrixPoint {
  // "parallel_mode=ep topk=8"; "point" in a file without axes.
  std::string label;
  StoredJson axes = StoredJson::object();     // in the order of the file
  StoredJson options = StoredJson::object();  // fixed options and axes together
  bool is_baseline = false;
};

// The first group changes slowest. Throws InputError for more than 10,000 points, for none, and if no point
// is the baseline.
std::vector<MatrixPoint> expand_matrix(const ExperimentFile& file);

// Returns an option as -L point and a label name it: "topk=8".
std::string option_text(const std::string& name, const StoredJson& value);

// Returns the command line {"--topk", "8", "--stage-timing"}; a flag that is false is left out.
std::vector<std::string> arguments_of(const StoredJson& options);

}  // namespace moehill
