#include <gtest/gtest.h>

#include <set>
#include <string>

#include "moehill/block/options.h"
#include "moehill/block/run_config.h"
#include "moehill/block/stages.h"

namespace moehill {
namespace {

template <typename E>
std::set<std::string> names_up_to(E last) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(last); ++i) names.insert(name_of(static_cast<E>(i)));
  return names;
}

TEST(Names, AreThoseOfTheCommandLine) {
  EXPECT_EQ(names_up_to(Backend::ragged_dot), (std::set<std::string>{"gmm", "ragged_dot"}));
  EXPECT_STREQ(name_of(Impl::fused_w13_preweight), "fused_w13_preweight");
  EXPECT_STREQ(name_of(Impl::fast), "fast");
  EXPECT_STREQ(name_of(Remat::expert_mlp), "expert_mlp");
  EXPECT_STREQ(name_of(Pass::forward_backward), "forward_backward");
  EXPECT_STREQ(name_of(PackStrategy::counting_sort), "counting_sort");
  EXPECT_STREQ(name_of(CapacityPolicy::pad), "pad");
  EXPECT_STREQ(name_of(Stage::plan), "plan");
  EXPECT_STREQ(name_of(Stage::recompute), "recompute");
  EXPECT_STREQ(name_of(Stage::reduce_grad), "reduce_grad");
}

TEST(Names, TellEveryChoiceApart) {
  EXPECT_EQ(names_up_to(Impl::fast).size(), 6u);
  EXPECT_EQ(names_up_to(PackStrategy::counting_sort).size(), 4u);
  EXPECT_EQ(names_up_to(Stage::reduce_grad).size(), static_cast<size_t>(kNumStages));
}

// Whoever adds an option to one of these lists has to spell it as records do.
TEST(Names, OfPathsAndOfExpertParallelismAreThoseOfRecords) {
  std::set<std::string> of_ep;
  RunConfig config;
  RunConfig::fields(config, [&](const Field& field, auto&&) {
    if (is_ep_option(field.name)) of_ep.insert(field.name);
  });
  EXPECT_EQ(of_ep, (std::set<std::string>{"ep_path", "ring_split", "shared_placement", "waves", "wire",
                                          "placement"}));
  for (const char* option : kPathOptions) EXPECT_TRUE(of_ep.contains(option)) << option;
  EXPECT_TRUE(goes_with_path("ep_path"));
  EXPECT_FALSE(goes_with_path("wire")) << "what travels between nodes is the same on any path";
}

}  // namespace
}  // namespace moehill
