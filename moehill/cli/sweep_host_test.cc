// Tests of the options that a sweep stores for a command of several points.
#include "moehill/cli/sweep_host.h"

#include <gtest/gtest.h>

#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

TEST(SweepHost, APointMayLackAnOptionOfTheFirstPoint) {
  const SweepHost host = make_sweep_host(detect_environment(), RunPredictor({}, {1e9, 1e9}));
  const ResolvedPoint resolved =
      host.resolve(SweptCommand::bench, false,
                   words("--tokens 64 --hidden 64 --mlp-dim 32 --experts 4 --topk 2 --shared-expert-dim 0 "
                         "--parallel-mode ep --devices 4 --nodes 2 --threads-per-device 1 "
                         "-L wire fp8+scales,native"));
  const StoredJson points = resolved.options.at("points");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].at("wire"), "fp8+scales");
  EXPECT_FALSE(points[1].contains("wire"));
  EXPECT_FALSE(resolved.options.contains("wire"));
  EXPECT_EQ(resolved.options.at("tokens"), 64);
}

}  // namespace
}  // namespace moehill
