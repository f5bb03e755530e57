// Builds compares two builds of the program on the same points. Each round runs both of them twice, each time
// in a process of its own. The two runs of one build give the noise floor of the same hour. The figure is
// this build's speed over the other build's, each from its faster run in a round, because other work on the
// machine can only slow a run down.
//
//     const BuildsComparison c = compare_builds("old/moehill", {"--topk", "8"}, {.rounds = 12});
//     fmt::print("{}", builds_table(c));
#pragma once

#include <string>
#include <vector>

#include "moehill/climb/turns.h"
#include "moehill/report/matching.h"

namespace moehill {

// With fewer rounds there is no noise floor, and a gate needs one.
inline constexpr int64_t kMinBuildRounds = kFewRounds, kDefaultBuildRounds = 12;

// BuildsComparison is the outcome.
struct BuildsComparison {
  std::string other, own;  // what the builds call themselves
  Matching matching;       // a pair for each point; A is the other build
  int64_t rounds = 0, repeated = 0, disturbed = 0;
  bool interrupted = false;
};

// BuildSamples are the seconds of a point by round.
struct BuildSamples {
  std::vector<double> other, other_again, own, own_again;
};

// Compares the samples. With fewer than kMinBuildRounds rounds there is no floor, and with fewer than
// kMinRounds no interval.
MatchedPair compare_samples(const std::string& label, const BuildSamples& samples);

// Compares the options that define the problem in both records; options that a build may choose are left out.
// Throws InputError that names an option that differs, by its flag.
void refuse_other_problem(const StoredJson& record_of_other, const StoredJson& record_of_own);

// Compares the builds. `arguments` are arguments of `bench`, without --json. After an interruption the result
// has the rounds that were complete.
BuildsComparison compare_builds(const std::string& other, const std::vector<std::string>& arguments,
                                const TurnOptions& options);

// Returns both builds, a line for each pair, and the floor.
std::string builds_table(const BuildsComparison& comparison);

}  // namespace moehill
