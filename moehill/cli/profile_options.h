// The options of `moehill profile`, and the points that they ask for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/measure/points.h"

namespace moehill {

struct ProfileOptions {
  BenchOptions bench;            // those that both commands have
  bool staged_dp = false;        // the staged path besides the other two
  bool staged_parallel = false;  // it spreads (expert, block) units over its team
  bool profile = false;          // stages of each path
  bool explain_blocks = false;   // says what the blocks need, and runs nothing
};

OptionSet profile_option_set(ProfileOptions& options);

// Parses and refuses flags without effect. Returns nothing when help was printed.
std::optional<ProfileOptions> parse_profile_options(const std::vector<std::string>& args);

// Makes three points for each top-k: ref_dp, staged_dp where it was asked for, and fused_ep.
std::vector<Point> expand_profile_points(const ProfileOptions& options, int num_cores);

}  // namespace moehill
