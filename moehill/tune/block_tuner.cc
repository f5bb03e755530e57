// Implementation of tune/block_tuner.h, in three phases. All sets get a few rounds, which drop those that are
// clearly behind. The sets that are left, or as many of the fastest as there is time for, get more rounds.
// The fastest set must beat the default in new rounds.
#include "moehill/tune/block_tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"

namespace moehill {
namespace {

// These are the rounds of the phases. A median of fewer than five samples confirms nothing.
constexpr int64_t kFirstRounds = 3, kMinConfirming = 5, kMaxConfirming = 15, kMaxSecond = 8;

// Returns the set with the smallest median among `in`.
size_t fastest_of(const std::vector<TunedCandidate>& all, const std::vector<size_t>& in) {
  return *std::min_element(in.begin(), in.end(), [&](size_t a, size_t b) {
    return median_of(all[a].samples) < median_of(all[b].samples);
  });
}

// Runs one phase over the sets `in`. Sets whose result is wrong leave.
void run_phase(std::vector<TunedCandidate>& all, std::vector<size_t>& in, int64_t rounds,
               const MeasureBlocks& measure) {
  std::vector<BlockSizes> sets;
  for (const size_t i : in) sets.push_back(all[i].blocks);
  const std::vector<std::vector<double>> samples = measure(sets, rounds);
  std::vector<size_t> left;
  for (size_t j = 0; j < in.size(); ++j) {
    TunedCandidate& candidate = all[in[j]];
    candidate.samples.insert(candidate.samples.end(), samples[j].begin(), samples[j].end());
    if (samples[j].empty()) {
      candidate.fate = Fate::check_failed;
    } else {
      left.push_back(in[j]);
    }
  }
  in = left;
}

// Drops the sets that are clearly slower than the fastest one.
void drop_those_behind(std::vector<TunedCandidate>& all, std::vector<size_t>& in, uint32_t seed) {
  const size_t best = fastest_of(all, in);
  std::vector<size_t> left;
  // The default stays in, because the winner is compared with it at the end.
  for (const size_t i : in) {
    const bool behind = i != 0 && i != best &&
                        judge(ratio_of_rounds(all[best].samples, all[i].samples, seed)) == Verdict::slower;
    if (behind) {
      all[i].fate = Fate::dropped;
    } else {
      left.push_back(i);
    }
  }
  in = left;
}

// Leaves out the slowest sets if there are more than `most`. The default stays in.
void leave_out_slowest(std::vector<TunedCandidate>& all, std::vector<size_t>& in, size_t most) {
  while (in.size() > most) {
    const auto slowest = std::max_element(in.begin() + 1, in.end(), [&](size_t a, size_t b) {
      return median_of(all[a].samples) < median_of(all[b].samples);
    });
    all[*slowest].fate = Fate::no_time;
    in.erase(slowest);
  }
}

}  // namespace

std::string fate_text(const TunedCandidate& candidate) {
  const std::string name = name_of(candidate.fate);
  const Ratio& gain = candidate.unconfirmed;
  switch (candidate.fate) {
    case Fate::dropped:
      return fmt::format("{} after {}", name, count_text(std::ssize(candidate.samples), "round"));
    case Fate::not_confirmed:
      return fmt::format("{}: {:.3f}{} over {}", name, gain.ratio, interval_text(gain.interval, "{:.3f}"),
                         count_text(gain.n, "new round"));
    default:
      return name;
  }
}

Ratio ratio_of_rounds(const std::vector<double>& a, const std::vector<double>& b, uint32_t seed) {
  Series first, second;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    first.rounds.push_back(static_cast<int64_t>(i));
    first.costs.push_back(a[i]);
    second.costs.push_back(b[i]);
  }
  second.rounds = first.rounds;
  return compare_speed(first, second, seed);
}

TunerBudget plan_budget(double budget_seconds, double step_seconds, size_t num_candidates) {
  // An estimate of no time would give more steps than an integer holds.
  const double steps = std::min(budget_seconds / step_seconds, 1e9);
  // The last phase has a quarter of the budget. It needs untimed steps and confirming rounds of two sets, so
  // the whole budget needs four times as many.
  const double smallest = 2 * 2 * (kUntimedTrials + kMinConfirming) * 2;
  if (steps < smallest) {
    throw input_error(
        "--budget", fmt::format("{:.3g} s, where a step takes about {:.3g} s", budget_seconds, step_seconds),
        fmt::format("{:.0f} s and more for this problem", std::ceil(smallest * step_seconds)),
        "give it more time, or choose fewer --tokens");
  }
  // Half of the budget is for the first phase, a quarter for the second, a quarter for the last.
  TunerBudget budget;
  budget.first = kFirstRounds;
  budget.num_candidates = std::clamp<size_t>(
      static_cast<size_t>(steps / 2 / static_cast<double>(kUntimedTrials + kFirstRounds)), 2, num_candidates);
  budget.last =
      std::clamp<int64_t>(static_cast<int64_t>(steps / 8) - kUntimedTrials, kMinConfirming, kMaxConfirming);
  // The second phase is planned for half of the sets, since the first phase usually drops the others. If it
  // drops fewer, num_second limits how many go on.
  const size_t half = std::max<size_t>(2, (budget.num_candidates + 1) / 2);
  budget.second = std::clamp<int64_t>(
      static_cast<int64_t>(steps / 4 / static_cast<double>(half)) - kUntimedTrials, 2, kMaxSecond);
  budget.num_second =
      std::max(half, static_cast<size_t>(steps / 4 / static_cast<double>(kUntimedTrials + budget.second)));
  return budget;
}

TunerResult tune(const std::vector<BlockSizes>& sets, const TunerBudget& budget, const MeasureBlocks& measure,
                 uint32_t seed) {
  TunerResult result;
  std::vector<size_t> in;
  for (size_t i = 0; i < sets.size(); ++i) {
    result.candidates.push_back({.blocks = sets[i]});
    in.push_back(i);
  }
  std::vector<TunedCandidate>& all = result.candidates;
  // Set 0 is the default. If its own check fails, nothing can be said about the others.
  run_phase(all, in, budget.first, measure);
  if (in.empty() || in.front() != 0) {
    if (!all.empty()) all[0].fate = Fate::check_failed;
    return result;
  }
  drop_those_behind(all, in, seed);
  leave_out_slowest(all, in, budget.num_second);
  if (in.size() > 1) run_phase(all, in, budget.second, measure);
  // The fate of the default then says why there is no winner.
  if (in.empty() || in.front() != 0) return result;
  const size_t best = fastest_of(all, in);
  all[0].fate = Fate::standard;
  if (best == 0) return result;
  // The rounds so far chose this set because it looked fast, so they overestimate it. New rounds decide.
  const auto last = measure({all[0].blocks, all[best].blocks}, budget.last);
  if (last[0].empty() || last[1].empty()) {
    all[last[0].empty() ? 0 : best].fate = Fate::check_failed;
    return result;
  }
  const Ratio gain = ratio_of_rounds(last[0], last[1], seed);
  if (judge(gain) != Verdict::faster) {
    all[best].fate = Fate::not_confirmed;
    all[best].unconfirmed = gain;
    return result;
  }
  all[best].fate = Fate::confirmed;
  result.winner = best;
  result.gain = gain;
  return result;
}

}  // namespace moehill
