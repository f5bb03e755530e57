// A run's configuration in the words of the model.
#pragma once

#include "moehill/block/run_config.h"
#include "moehill/model/work.h"

namespace moehill {

WorkProblem work_problem(const RunConfig& config);

}  // namespace moehill
