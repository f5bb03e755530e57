// Binding: which level a step waits for most: compute, memory, a rank with more than the others, the links of
// a node, or the network between nodes.
#pragma once

#include <array>
#include <string>

#include "moehill/base/words.h"
#include "moehill/model/predict.h"
#include "moehill/predict/simulated_step.h"

namespace moehill {

enum class Level { compute, memory, rank, node, network, overhead };
constexpr auto words(Level) { return std::array{"compute", "memory", "rank", "node", "network", "overhead"}; }

// Seconds of a step by level; what is hidden under work is in none.
using LevelSeconds = std::array<double, kNumWords<Level>>;
inline double& at(LevelSeconds& seconds, Level level) { return seconds[static_cast<size_t>(level)]; }
LevelSeconds level_seconds(const Prediction& prediction);
LevelSeconds level_seconds(const StagePrediction& stage);
// Goes by the critical path.
LevelSeconds level_seconds(const SimulatedStep& step);

Level binding_level(const LevelSeconds& seconds);
// "bound by the network, rows between nodes: 12.300 of 20.100 ms; then compute 4.100, memory 3.700".
std::string binding_text(const LevelSeconds& seconds);

}  // namespace moehill
