// Matrix: an experiment file's points, in order: the product of its groups without the exclusions.
#pragma once

#include <string>
#include <vector>

#include "moehill/experiments/experiment_file.h"

namespace moehill {

struct MatrixPoint {
  std::string label;  // "parallel_mode=ep topk=8"; the title of a file without axes is "point"
  StoredJson axes = StoredJson::object();     // in the order of the file
  StoredJson options = StoredJson::object();  // fixed and axes together
  bool is_baseline = false;
};

// The first group is the slowest. Throws InputError for more than 10,000 points, for none, and where no point
// is the baseline.
std::vector<MatrixPoint> expand_matrix(const ExperimentFile& file);

// The command line: {"--topk", "8", "--stage-timing"}; a flag that is false is left out.
std::vector<std::string> arguments_of(const StoredJson& options);

}  // namespace moehill
