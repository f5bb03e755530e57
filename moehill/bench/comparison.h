// Comparison of two series of samples: which side is faster, by how much, and how sure that is.
// This file is for two sides that were measured already; it times nothing (bench/schedule.h does) and knows
// of no records (report/measured.h does).
//
//     const Series old_build{rounds, old_seconds}, new_build{rounds, new_seconds};
//     const Ratio ratio = compare_speed(old_build, new_build, /*seed=*/0);
//     fmt::print("{}: {}\n", change_text(ratio), verdict_words(ratio, floor));
//     // "+3.1 % [95 %: +2.0..+4.2]: faster"
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"

namespace moehill {

// Series holds the samples of one thing, in seconds or any other cost. Two series that have round numbers in
// common were measured in turn within these rounds.
struct Series {
  std::vector<int64_t> rounds;  // ascending
  std::vector<double> costs;    // by `rounds`
  // The host of each sample, by `rounds`; "" or no entry: not known.
  std::vector<std::string> hosts = {};
};

// Says how much faster `b` is than `a`, by speed_ratio() over the rounds that both have. Two series without a
// common round are compared as processes are (compare_processes()). Each series needs at least one sample.
// A round whose two samples are of different hosts is left out: a sweep that went on elsewhere, or that two
// hosts share, filled it at two times, and no two hosts are equally fast. If no other round is in common,
// the ratio has no round at all.
Ratio compare_speed(const Series& a, const Series& b, uint32_t seed);

// ProcessCost is what one process found: the median of its samples, and when it began (Unix time in seconds;
// none if not recorded).
struct ProcessCost {
  double cost = 0;
  std::optional<double> started_s;
};

// With fewer processes on a side there is no interval.
inline constexpr int64_t kMinProcesses = 5;

// Says how much faster `b` is than `a` if the two were not interleaved: the ratio of the geometric means over
// processes.
// The interval is Welch's t on the logarithms. Let a side have n processes whose logarithms have variance v.
// The variance of the side's mean is then taken as v(1/n + s) and not as v/n. Here s = |2u - 1|, and u is the
// share of pairs of processes (one of each side) in which the process of `a` began first. So s is 0 if the
// sides took turns, and 1 if one side ran wholly before the other or if a time is not known.
// The reason for s: processes that follow one another see the same state of the machine, so n of them may
// tell no more than a single one.
Ratio compare_processes(std::span<const ProcessCost> a, std::span<const ProcessCost> b);

// `floor` is the |log ratio| that equal things show on this machine (noise_floor()). Without a floor, judge()
// of statistics.h gives the verdict. With a floor, the first of these lines that applies gives the verdict:
//    cannot tell   there is no interval
//    within noise  the interval lies inside +-floor, or the ratio does although its interval excludes 1
//    faster/slower the interval excludes 1
//    inconclusive  the interval holds 1 and reaches beyond the floor
Verdict judge(const Ratio& ratio, std::optional<double> floor);

// Returns the verdict's name. `cannot tell` adds what is missing: "cannot tell: 2 rounds, at least 3 needed".
std::string verdict_words(const Ratio& ratio, std::optional<double> floor);

// Returns the noise floor of a point that was measured twice in each round (`a` and `b`). A comparison of
// equal things over `rounds` rounds stays below this |log ratio| in 19 of 20 cases. The function finds the
// floor by drawing `rounds` pairs 2000 times, and needs at least kFewRounds pairs.
double noise_floor(std::span<const double> a, std::span<const double> b, int64_t rounds, uint32_t seed);

// Returns "+3.1 % [95 %: +2.0..+4.2]", or "+3.1 %" if there is no interval.
std::string change_text(const Ratio& ratio);

// Returns "; the medians order the other way" if the side with the better ratio has the worse median,
// otherwise nothing.
std::string disagreement_text(const Ratio& ratio, double median_a, double median_b);

}  // namespace moehill
