// Tests the words of ablations, and in which stages a configuration has work.
#include "moehill/block/ablation.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/block/run_config.h"

namespace moehill {
namespace {

TEST(Ablation, AWordTakesItsGradientAlong) {
  EXPECT_EQ(parse_ablation("shared").stages, (StageSet{Stage::shared, Stage::shared_grad}));
  EXPECT_EQ(parse_ablation("shared_grad").stages, (StageSet{Stage::shared_grad}));
  EXPECT_EQ(parse_ablation("recompute").stages, (StageSet{Stage::recompute}));
  EXPECT_EQ(parse_ablation("weight_grad").stages, (StageSet{Stage::w2_grad, Stage::w13_grad}));
  EXPECT_EQ(parse_ablation("exchange").stages.names(),
            (std::vector<std::string>{"dispatch", "reduce", "dispatch_grad", "reduce_grad"}));
  EXPECT_EQ(parse_ablation("rows").stages.names(),
            (std::vector<std::string>{"dispatch", "pack", "combine", "reduce", "dispatch_grad", "pack_grad",
                                      "combine_grad", "reduce_grad"}));
  EXPECT_TRUE(parse_ablation("").empty());
}

TEST(Ablation, WhatCannotBeLeftOutIsRefused) {
  for (const char* words :
       {"plan", "dispatch", "reduce_grad", "nothing", "shared,,combine", "shared,shared"}) {
    EXPECT_THROW(parse_ablations(words), InputError) << words;
    EXPECT_EQ(("|" + ablation_words() + "|").find("|" + std::string(words) + "|"), std::string::npos);
  }
  EXPECT_EQ(parse_ablations("shared,exchange").size(), 2u);
}

TEST(Ablation, OneDeviceExchangesNothingAndForwardHasNoGradients) {
  RunConfig config;
  config.shape.shared_dim = 0;
  config.block.pass = Pass::forward;
  EXPECT_EQ(stages_of_step(config).names(), (std::vector<std::string>{"plan", "up", "down", "combine"}));
  config.spread = Spread::dp;
  config.num_devices = 2;
  EXPECT_FALSE(stages_of_step(config).has(Stage::reduce));
  config.block.pass = Pass::forward_backward;
  EXPECT_TRUE(stages_of_step(config).has(Stage::reduce_grad));
  EXPECT_FALSE(stages_of_step(config).has(Stage::dispatch));
}

}  // namespace
}  // namespace moehill
