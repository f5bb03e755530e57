// Binding tells which level takes most of a step's time: compute, memory, a rank with more rows than the
// others, the links of a node, or the network between nodes. It sums up a prediction or a simulation and
// computes no times of its own.
//
//     binding_text(level_seconds(prediction));
//     // "bound by the network: rows between nodes: 12.300 of 20.100 ms; then compute 4.100, memory 3.700"
#pragma once

#include <array>
#include <string>

#include "moehill/base/words.h"
#include "moehill/model/predict.h"
#include "moehill/predict/simulated_step.h"

namespace moehill {

// Level is a cause on which the time of a step is spent.
enum class Level { compute, memory, rank, node, network, overhead };
constexpr auto words(Level) { return std::array{"compute", "memory", "rank", "node", "network", "overhead"}; }

// LevelSeconds are the seconds of a step by level. Time that is hidden under work counts for no level.
using LevelSeconds = std::array<double, kNumWords<Level>>;
inline double& at(LevelSeconds& seconds, Level level) { return seconds[static_cast<size_t>(level)]; }
LevelSeconds level_seconds(const Prediction& prediction);
LevelSeconds level_seconds(const StagePrediction& stage);
// Follows the critical path of the simulation.
LevelSeconds level_seconds(const SimulatedStep& step);

Level binding_level(const LevelSeconds& seconds);
// Returns a line such as the one above.
std::string binding_text(const LevelSeconds& seconds);

}  // namespace moehill
