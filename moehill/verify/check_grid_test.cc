// Tests that the grid contains every choice and keeps the cases of a combination together.
#include "moehill/verify/check_grid.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace moehill {
namespace {

TEST(CheckGrid, HoldsEveryChoiceUnderEveryPath) {
  std::set<std::string> seen;
  for (const GridCase& c : make_grid({})) {
    const std::string path = name_of(c.config.spread);
    const BlockOptions& b = c.config.block;
    for (const char* choice :
         {name_of(b.impl), name_of(b.backend), name_of(b.pack), name_of(b.remat), name_of(b.capacity.policy),
          name_of(b.pass), dtype_name(c.config.shape.dtype), b.prequeue ? "prequeue" : "full",
          b.shared_fused ? "shared_fused" : "shared_apart"}) {
      seen.insert(path + " " + choice);
    }
  }
  // 6 impls, 2 backends, 4 packs, none and 2 remats, drop and pad (none again), 2 passes, 2 dtypes, 2 queues,
  // 2 shared.
  EXPECT_EQ(seen.size(), 8u * (6 + 2 + 4 + 3 + 2 + 2 + 2 + 2 + 2));
}

TEST(CheckGrid, NoFlagWithoutEffect) {
  for (const GridCase& c : make_grid({})) {
    const BlockOptions& b = c.config.block;
    EXPECT_FALSE(b.shared_fused && c.config.shape.shared_dim == 0);
    EXPECT_FALSE(b.prequeue && b.pass != Pass::forward);
    EXPECT_FALSE(b.router_grad && b.pass == Pass::forward);
    EXPECT_FALSE(b.remat != Remat::none && b.pass == Pass::forward);
  }
}

TEST(CheckGrid, EveryWireIsOnEveryPathThatHasIt) {
  std::set<std::string> seen;
  for (const GridCase& c : make_grid({})) {
    if (c.config.wire == Wire::native) continue;
    EXPECT_NO_THROW(refuse_unbuilt(c.config)) << to_string(c);
    seen.insert(fmt::format("{} {} {}", name_of(c.config.spread), name_of(c.config.wire),
                            dtype_name(c.config.shape.dtype)));
  }
  EXPECT_EQ(seen.size(), 3u * 3);
  for (const GridCase& c : make_grid({.num_devices = 3, .wire = Wire::fp8_scales})) {
    EXPECT_NO_THROW(refuse_unbuilt(c.config)) << to_string(c);
    EXPECT_EQ(c.config.wire, routes_rows(c.config) ? Wire::fp8_scales : Wire::native) << to_string(c);
  }
}

TEST(CheckGrid, CombinationsComeAsNoneThenPaths) {
  for (const bool quick : {false, true}) {
    const std::vector<GridCase> cases = make_grid({.quick = quick});
    ASSERT_EQ(cases.size() % 8, 0u);
    for (size_t i = 0; i < cases.size(); i += 8) {
      EXPECT_EQ(cases[i].config.spread, Spread::none);
      for (size_t j = i + 1; j < i + 8; ++j) {
        EXPECT_EQ(cases[j].combination, cases[i].combination);
        EXPECT_NE(cases[j].config.spread, Spread::none);
        EXPECT_EQ(cases[j].config.block.impl, cases[i].config.block.impl);
      }
    }
  }
}

TEST(CheckGrid, QuickIsASampleWithTheSameNumbers) {
  const std::vector<GridCase> all = make_grid({}), quick = make_grid({.quick = true});
  EXPECT_LT(quick.size() * 4, all.size());
  EXPECT_GT(quick.size() * 20, all.size());
  for (const GridCase& c : quick) EXPECT_EQ(to_string(c), to_string(all[c.number]));
}

TEST(CheckGrid, HandmadeRoutingsAreWhatTheyAreCalled) {
  for (const GridCase& c : make_grid({})) {
    if (!c.routing) continue;
    const std::set<int> used(c.routing->expert.begin(), c.routing->expert.end());
    EXPECT_EQ(used.size(), c.group == "all on one expert" ? 1u : 3u);
    EXPECT_EQ(c.routing->expert.size(), c.routing->weight.size());
  }
}

}  // namespace
}  // namespace moehill
