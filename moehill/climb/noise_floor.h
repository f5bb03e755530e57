// This header measures the noise floor: how much equal points differ on this machine. It makes an A/A run, in
// which one point runs twice in each round, as a sweep runs two points. Each run has a process of its own, or
// one process measures both and alternates their steps (as process = "round" in an experiment file).
//
//     const std::optional<StoredNoiseFloor> floor = measure_noise_floor(arguments, false, {.rounds = 20});
//     if (floor) store.add_noise_floor(*floor);   // floor->floor: |log ratio|
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/climb/turns.h"

namespace moehill {

inline constexpr int64_t kFloorRounds = 5;  // rounds of a comparison for which the figure is stored
inline constexpr const char* kFloorPoint =
    "tokens=512 hidden=1024 mlp_dim=512 experts=16 topk=4 shared_expert_dim=0 parallel_mode=ep";

// Returns the floor of this machine from pairs of `moehill bench ARGUMENTS`, in one process if `together`.
// Its json holds the arguments and the medians of both halves under "a" and "b", from which
// report/results_view.h takes the floor for other numbers of rounds. Returns nothing after SIGINT or SIGTERM.
// Throws as run_in_turn() does.
std::optional<StoredNoiseFloor> measure_noise_floor(const std::vector<std::string>& arguments, bool together,
                                                    const TurnOptions& options);

// Describes the noise floor in a line.
std::string noise_floor_text(const StoredNoiseFloor& floor);

}  // namespace moehill
