// Tests which target the kernels run on, and which targets multiply bf16 by dot instructions.
#include "moehill/kernels/simd.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "moehill/base/error.h"

namespace moehill {
namespace {

class SimdTarget : public testing::Test {
 protected:
  ~SimdTarget() override { select_simd_target(""); }
};

TEST_F(SimdTarget, EveryOneCanBeChosenByItsNameInAnyCase) {
  const std::vector<std::string> all = simd_targets();
  EXPECT_EQ(simd_target(), all.front());
  for (std::string name : all) {
    select_simd_target(name);
    EXPECT_EQ(simd_target(), name);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(std::tolower(c)); });
    select_simd_target(name);
    EXPECT_EQ(simd_targets().front(), simd_target());
  }
  select_simd_target("");
  EXPECT_EQ(simd_targets(), all);
}

TEST_F(SimdTarget, HasTheTileOfItsNameAndNoBetterOne) {
  for (const std::string& name : simd_targets()) {
    select_simd_target(name);
    const PairTiles tiles = pair_tiles();
    EXPECT_EQ(tiles.amx != nullptr, name == "AMX_BF16") << name;
    if (tiles.amx == nullptr) {
      EXPECT_EQ(tiles.dot != nullptr, name == "AVX512_BF16") << name;
    }
  }
  select_simd_target("");
  EXPECT_EQ(pair_tiles().dot, avx512_dot_tile());
  EXPECT_EQ(pair_tiles().amx, amx_tile());
}

TEST_F(SimdTarget, AnUnknownOneIsRefusedAndTheBestStays) {
  const std::string best = simd_target();
  EXPECT_THROW(select_simd_target("abacus"), InputError);
  EXPECT_EQ(simd_target(), best);
}

}  // namespace
}  // namespace moehill
