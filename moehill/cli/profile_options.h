// This header declares the options of `moehill profile`, and makes the points that they ask for.
//
//     const auto options = parse_profile_options({"--topk-list", "1,2", "--staged-dp"});
//     expand_profile_points(*options, num_cores).size();   // 6: three paths for each top-k
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/measure/points.h"

namespace moehill {

// ProfileOptions is what the command line fills.
struct ProfileOptions {
  BenchOptions bench;            // the options that profile shares with bench
  bool staged_dp = false;        // time staged_dp besides the other two
  bool staged_parallel = false;  // staged_dp spreads (expert, block) units over its threads
  bool profile = false;          // print the stages of each path
  bool explain_blocks = false;   // say what the blocks need, and run nothing
};

OptionSet profile_option_set(ProfileOptions& options);

// Parses the options. Throws InputError for options without effect. Returns nothing if help was printed.
std::optional<ProfileOptions> parse_profile_options(const std::vector<std::string>& args);

// Returns two or three points for each top-k: ref_dp, staged_dp if it was asked for, and fused_ep.
std::vector<Point> expand_profile_points(const ProfileOptions& options, int num_cores);

}  // namespace moehill
