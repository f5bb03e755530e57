// Two builds of the program on the same points: each round runs both of them twice, each time in a process of
// its own. The two runs of one build give the noise floor of the same hour; the figure is this build's speed
// over that of the other one, the faster run of each in a round, since other work on the machine only ever
// slows a run.
#pragma once

#include <string>
#include <vector>

#include "moehill/climb/turns.h"
#include "moehill/report/matching.h"

namespace moehill {

// Fewer rounds have no noise floor, and a gate needs one.
inline constexpr int64_t kMinBuildRounds = kFewRounds, kDefaultBuildRounds = 12;

struct BuildsComparison {
  std::string other, own;  // what the builds call themselves
  Matching matching;       // a pair a point, A the other build
  int64_t rounds = 0, repeated = 0, disturbed = 0;
  bool interrupted = false;
};

// Seconds of a point by round.
struct BuildSamples {
  std::vector<double> other, other_again, own, own_again;
};

// With fewer than kMinBuildRounds rounds there is no floor, with fewer than kMinRounds no interval.
MatchedPair compare_samples(const std::string& label, const BuildSamples& samples);

// The options of both records that are the problem, and not a choice of the build how to compute it, have to
// agree. Throws InputError that names one which does not, by its flag.
void refuse_other_problem(const StoredJson& record_of_other, const StoredJson& record_of_own);

// `arguments`: of `bench`, without --json. After an interruption it has the rounds that were complete.
BuildsComparison compare_builds(const std::string& other, const std::vector<std::string>& arguments,
                                const TurnOptions& options);

// Both builds, a line a pair, and the floor.
std::string builds_table(const BuildsComparison& comparison);

}  // namespace moehill
