// Block tuner: which of several sets of block sizes is the fastest, judged by rounds that did not choose it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/kernels/block_sizes.h"

namespace moehill {

// `standard`: it is the default set. not_confirmed: it was the best until new rounds.
enum class Fate { not_fastest, standard, dropped, check_failed, not_confirmed, confirmed };
constexpr auto words(Fate) {
  return std::array{"not the fastest", "default", "dropped", "check failed", "best so far, not confirmed",
                    "confirmed"};
}

struct TunedCandidate {
  BlockSizes blocks;
  Fate fate = Fate::not_fastest;
  Ratio unconfirmed{};  // of a best that new rounds did not confirm: its speed to the default's in them
  std::vector<double> samples{};  // seconds, of the rounds that chose
};

struct TunerResult {
  std::vector<TunedCandidate> candidates;  // the default first
  size_t winner = 0;
  Ratio gain;  // of the winner's speed to the default's, in rounds of their own; 1 if that is the default
};

// The fate in words, with the rounds and the ratio that it rests on.
std::string fate_text(const TunedCandidate& candidate);

// Speed of b to that of a over the rounds that both have.
Ratio ratio_of_rounds(const std::vector<double>& a, const std::vector<double>& b, uint32_t seed);

// Seconds of `rounds` interleaved steps of each set (after a warm-up); [set][round]. An empty series: the
// set's result is wrong.
using MeasureBlocks =
    std::function<std::vector<std::vector<double>>(const std::vector<BlockSizes>& sets, int64_t rounds)>;

// Steps that each set takes in each phase besides its timed ones: the checked step, its check, the warm-up.
inline constexpr int64_t kUntimedTrials = 4;

// The number of rounds of each phase that a budget of steps allows.
struct TunerBudget {
  int64_t first = 3, second = 3, last = 5;
  size_t num_candidates = 2;
};
// Half of the budget for the first look at all, a quarter each for those that are left and for confirming.
// Throws InputError when it is too small for two sets.
TunerBudget plan_budget(double budget_seconds, double step_seconds, size_t num_candidates);

// The first set is the default, which is never dropped. After the first rounds those that are clearly behind
// the best are dropped; the best after the second must be faster than the default (bench/comparison.h) in new
// rounds of the two, or the default wins.
TunerResult tune(const std::vector<BlockSizes>& sets, const TunerBudget& budget, const MeasureBlocks& measure,
                 uint32_t seed);

}  // namespace moehill
