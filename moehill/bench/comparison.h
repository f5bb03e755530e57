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

// How much faster `b` is than `a`. With common rounds: speed_ratio() over those.
// Without common rounds: the ratio of the medians, each series resampled by itself, which a drift of the
// machine between the two enters in full.
struct SpeedComparison {
  Ratio ratio;
  bool paired = false;
};

// Rounds may be measured at different times, as two files are: `interleaved` says that they were not.
// Of at least one sample each.
SpeedComparison compare_speed(const Series& a, const Series& b, bool interleaved, uint32_t seed);

// `floor`: |log ratio| that equal things show on this machine (noise_floor()). Without one judge() as in
// statistics.h. With one, in this order:
//   inconclusive  fewer than 3 samples
//   within noise  the interval lies inside +-floor, or the ratio does although its interval excludes 1
//   faster/slower the interval excludes 1
//   inconclusive  the interval holds 1 and more than the floor
Verdict judge(const Ratio& ratio, std::optional<double> floor);

// Of an A/A pair: the |log ratio| that a comparison over `rounds` rounds stays below in 19 of 20 cases, by
// resampling `rounds` pairs 2000 times. At least kFewRounds pairs.
double noise_floor(std::span<const double> a, std::span<const double> b, int64_t rounds, uint32_t seed);

// "+3.1 % [+2.0, +4.2]"; without an interval below 2 samples.
std::string change_text(const Ratio& ratio);

}  // namespace moehill
