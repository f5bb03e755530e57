// A/A run: one point run twice a round, each time in a process of its own, as a sweep runs two points.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/turns.h"

namespace moehill {

inline constexpr int64_t kFloorRounds = 5;  // rounds of a comparison that the stored figure is for
inline constexpr const char* kFloorPoint =
    "tokens=512 hidden=1024 mlp_dim=512 experts=16 topk=4 shared_expert_dim=0 parallel_mode=ep";

// The floor of this machine from pairs of `moehill bench ARGUMENTS`; json holds the arguments and the medians
// of both halves under "a" and "b", from which report/results_view.h takes the floor of other numbers of
// rounds. Nothing when SIGINT or SIGTERM came. Throws as run_in_turn() does.
std::optional<StoredNoiseFloor> measure_noise_floor(const std::vector<std::string>& arguments,
                                                    const TurnOptions& options);

// Describes the noise floor in a line.
std::string noise_floor_text(const StoredNoiseFloor& floor);

}  // namespace moehill
