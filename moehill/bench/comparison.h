// Comparison: two series of samples judged by the ratio of their speeds, its interval and the machine's
// noise.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"

namespace moehill {

// One thing measured over rounds; seconds, or any cost. Series with rounds in common were interleaved.
struct Series {
  std::vector<int64_t> rounds;  // ascending
  std::vector<double> costs;    // by `rounds`
};

// Says how much faster `b` is than `a`, by speed_ratio() over the rounds that both have. Series without a
// common round are compared as processes are. Each series needs one sample at least.
Ratio compare_speed(const Series& a, const Series& b, uint32_t seed);

// ProcessCost is one process's word on a thing: the median of its samples, and when it began (Unix time,
// seconds).
struct ProcessCost {
  double cost = 0;
  std::optional<double> started_s;
};

// Fewer processes a side have no interval.
inline constexpr int64_t kMinProcesses = 5;

// Says how much faster `b` is than `a` where nothing was interleaved: the ratio of the geometric means over
// processes. Its interval is Welch's t on the logarithms, with v(1/n + s) as a side's variance in place of
// v/n. s is what the sides are apart in time: |2u - 1|, u the share of pairs of processes of which that of a
// began first; 0 where they took turns, 1 where all of one side came first, and where a time is not known.
// Processes that follow one another share the state of the machine, which then is one draw a side and not n.
Ratio compare_processes(std::span<const ProcessCost> a, std::span<const ProcessCost> b);

// `floor`: |log ratio| that equal things show on this machine (noise_floor()). Without one judge() as in
// statistics.h. With one, in this order:
//   cannot tell   there is no interval
//   within noise  the interval lies inside +-floor, or the ratio does although its interval excludes 1
//   faster/slower the interval excludes 1
//   inconclusive  the interval holds 1 and more than the floor
Verdict judge(const Ratio& ratio, std::optional<double> floor);

// The verdict's name; for `cannot tell` with what is missing: "cannot tell: 2 rounds, at least 3 needed".
std::string verdict_words(const Ratio& ratio, std::optional<double> floor);

// The noise floor of one point measured twice a round (a, b): the |log ratio| that a comparison over `rounds`
// rounds stays below in 19 of 20 cases, by resampling `rounds` pairs 2000 times. It needs kFewRounds pairs.
double noise_floor(std::span<const double> a, std::span<const double> b, int64_t rounds, uint32_t seed);

// "+3.1 % [95 %: +2.0..+4.2]"; without an interval "+3.1 %".
std::string change_text(const Ratio& ratio);

// "; the medians order the other way" where the medians of the two series do; empty where they agree.
std::string disagreement_text(const Ratio& ratio, double median_a, double median_b);

}  // namespace moehill
