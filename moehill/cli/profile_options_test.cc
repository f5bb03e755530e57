// Tests of the options of `moehill profile`: the paths that they ask for, and what is refused.
#include "moehill/cli/profile_options.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

std::vector<Point> profile_points_of(const std::vector<std::string>& args) {
  return expand_profile_points(*parse_profile_options(args), 2);
}

TEST(ProfileOptions, PathsOfEachTopk) {
  const std::vector<Point> points =
      profile_points_of({"--topk-list", "1,2", "--staged-dp", "--renormalize-topk"});
  using enum ProfilePath;
  const std::vector<ProfilePath> paths = {ref_dp, staged_dp, fused_ep, ref_dp, staged_dp, fused_ep};
  ASSERT_EQ(points.size(), paths.size());
  for (size_t i = 0; i < points.size(); ++i) {
    const RunConfig& config = points[i].config;
    EXPECT_EQ(points[i].path, paths[i]);
    EXPECT_EQ(config.shape.topk, i < 3 ? 1 : 2);
    EXPECT_TRUE(config.block.route_in_step && config.block.renormalize_topk && shards_tokens(config));
    EXPECT_EQ(is_ep(config.spread), paths[i] == fused_ep);
    EXPECT_EQ(config.block.backend == Backend::ragged_dot, paths[i] == ref_dp);
    EXPECT_EQ(config.block.expert_by_expert, paths[i] == staged_dp);
  }
  EXPECT_EQ(profile_points_of({}).size(), 2u);
  EXPECT_FALSE(profile_points_of({"--staged-dp", "--staged-parallel"})[1].config.block.expert_by_expert);
}

TEST(ProfileOptions, RefusesFlagsWithoutEffect) {
  EXPECT_THROW(parse_profile_options({"--staged-parallel"}), InputError);
  EXPECT_THROW(parse_profile_options({"--trace-steps", "2"}), InputError);
  EXPECT_THROW(parse_profile_options({"--explain-blocks", "--json", "-"}), InputError);
  EXPECT_THROW(parse_profile_options({"--explain-blocks", "--table", "off"}), InputError);
  EXPECT_NO_THROW(parse_profile_options({"--explain-blocks", "--hidden", "64", "--blocks", "bt=64"}));
  EXPECT_THROW(parse_profile_options({"--topk", "2", "--topk-list", "1,2"}), InputError);
}

TEST(Blocks, ThoseNotGivenAreTheDefaultsCutToTheirBlock) {
  const BlockSizes blocks = parse_blocks("bt=64,bf=128");
  EXPECT_EQ(blocks, (BlockSizes{64, 128, 2048, 4096, 64, 128, 256, 128}));
  EXPECT_EQ(profile_points_of({"--blocks", "bt=64,bf=128"})[1].config.block.blocks, blocks);
  EXPECT_EQ(profile_points_of({"--blocks", "bt=64"})[0].config.block.blocks,
            BlockSizes{});  // ref_dp has none
}

TEST(Blocks, RefusesWhatItDoesNotKnowAndWhatIsIllegal) {
  for (const char* text :
       {"", "bt", "bt=", "bt=64,", ",bt=64", "bt=64,bt=128", "bq=4", "bt=64,btc=65", "bd1=100", "bt=-1"})
    EXPECT_THROW(parse_blocks(text), InputError) << text;
}

}  // namespace
}  // namespace moehill
