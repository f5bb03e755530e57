// Block tuner finds the fastest of several sets of block sizes. New rounds, which had no part in the choice,
// have to confirm it. It does no timing: the caller measures.
//
//     const TunerResult result = tune(sets, plan_budget(60, step_seconds, sets.size()), measure, seed);
//     result.candidates[result.winner].blocks, result.gain.ratio;   // 1.08: 8 % faster than the default
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/kernels/block_sizes.h"

namespace moehill {

// Fate tells what became of a set. `standard` is the default. `not_confirmed` was the best set, but new
// rounds did not confirm it. `no_time` is one of the slowest that were not dropped, for which the budget had
// no more rounds.
enum class Fate { not_fastest, standard, dropped, no_time, check_failed, not_confirmed, confirmed };
constexpr auto words(Fate) {
  return std::array{"not the fastest", "default",
                    "dropped",         "no time for more rounds",
                    "check failed",    "best so far, not confirmed",
                    "confirmed"};
}

// TunedCandidate is one set and what became of it.
struct TunedCandidate {
  BlockSizes blocks;
  Fate fate = Fate::not_fastest;
  // For a best set that new rounds did not confirm: its speed over the default's in these rounds.
  Ratio unconfirmed{};
  std::vector<double> samples{};  // seconds, of the rounds that chose
};

// TunerResult is the outcome.
struct TunerResult {
  std::vector<TunedCandidate> candidates;  // the default first
  size_t winner = 0;
  // The winner's speed over the default's, in rounds of their own; 1 if the default won.
  Ratio gain;
};

// Returns the fate in words, with the rounds and the ratio that it rests on.
std::string fate_text(const TunedCandidate& candidate);

// Returns the speed of b over the speed of a, from the rounds that both have.
Ratio ratio_of_rounds(const std::vector<double>& a, const std::vector<double>& b, uint32_t seed);

// Returns the seconds of `rounds` interleaved steps of each set, after a warm-up: [set][round]. An empty
// series means that the set's result is wrong.
using MeasureBlocks =
    std::function<std::vector<std::vector<double>>(const std::vector<BlockSizes>& sets, int64_t rounds)>;

// Each set takes this many steps in each phase besides its timed ones: the checked step, its check, the
// warm-up.
inline constexpr int64_t kUntimedTrials = 4;

// TunerBudget is what a budget of seconds allows: the rounds of each phase, and the number of sets.
struct TunerBudget {
  int64_t first = 3, second = 3, last = 5;
  size_t num_candidates = 2;
  size_t num_second = SIZE_MAX;  // sets in the second phase, at most; two or more
};
// Gives half of the budget to the first look at all sets, a quarter to the sets that are left (planned as
// half of them), and a quarter to confirming. Throws InputError if the budget is too small for two sets.
TunerBudget plan_budget(double budget_seconds, double step_seconds, size_t num_candidates);

// Tunes. The first set is the default, which is never dropped. The first rounds drop the sets that are
// clearly behind the best, and the slowest ones if more are left than the second rounds have time for. The
// best set after the second rounds has to be faster than the default (bench/comparison.h) in new rounds of
// the two; otherwise the default wins.
TunerResult tune(const std::vector<BlockSizes>& sets, const TunerBudget& budget, const MeasureBlocks& measure,
                 uint32_t seed);

}  // namespace moehill
