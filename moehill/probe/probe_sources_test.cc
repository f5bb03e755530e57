// Tests that every figure gets a source, and that the file is read as before.
#include "moehill/probe/probe_sources.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/model/hardware.h"

namespace moehill {
namespace {

TEST(ProbeSources, EveryFigureHasOneAndTheFileIsTheSame) {
  Hardware hardware = load_hardware("epyc-2-core");
  hardware.gemm.at(0).one_group = true;  // as the curves of a shared expert are
  const std::string text = hardware_toml(hardware, {"measured = 3 by a probe"});
  const std::string sourced = with_sources(text);
  EXPECT_EQ(hardware_toml(read_hardware_text(sourced, "f"), {"measured = 3 by a probe"}), text);
  EXPECT_EQ(sourced.rfind("# measured = 3 by a probe\n", 0), 0u);
  EXPECT_NE(sourced.find("\nkind = \"node\"\n"), std::string::npos);
  EXPECT_NE(sourced.find("  # physical memory"), std::string::npos);
}

TEST(ProbeSources, AnUnknownFigureIsNotLetThrough) {
  EXPECT_DEATH((void)with_sources("[memory]\nbits = 3\n"), "no source of bits");
}

}  // namespace
}  // namespace moehill
