// RunFixture is for tests of single runs: it steps a run and checks its results.
//
//     class MyTest : public RunFixture {};
//     TEST_F(MyTest, is_right) { EXPECT_EQ(check(step(config)->tensors()).status, CheckStatus::passed); }
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "moehill/api/measuring.h"
#include "moehill/moe/check.h"

namespace moehill {

// No size is a multiple of a vector or of a number of devices.
inline constexpr MoeShape kOdd{37, 45, 27, 7, 3, 19, DType::f32};

class RunFixture : public testing::Test {
 protected:
  // Steps twice, each time with poisoned results, so that a value that a step leaves out shows.
  std::unique_ptr<moehill::Run> step(const RunConfig& config) { return step(factory_.make(config)); }
  static std::unique_ptr<moehill::Run> step(const RunConfig& config, uint32_t seed,
                                            const DistributionOptions& distribution = {}) {
    return step(RunFactory(distribution, seed, {}).make(config));
  }
  static std::unique_ptr<moehill::Run> step(std::unique_ptr<moehill::Run> run) {
    for (int i = 0; i < 2; ++i) {
      run->poison();
      run->step({});
    }
    run->collect();
    return run;
  }
  static CheckResult check(const BlockTensors& tensors, CheckMode mode = CheckMode::full) {
    ThreadTeam team(1);
    return check_block(tensors, Pass::forward_backward, mode, 3, team);
  }

  RunFactory factory_{{}, 5, {}};
};

}  // namespace moehill
