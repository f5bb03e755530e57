// A run's configuration in the words of the model.
#pragma once

#include "moehill/model/work.h"
#include "moehill/parallel/run.h"

namespace moehill {

WorkProblem work_problem(const RunConfig& config);

}  // namespace moehill
