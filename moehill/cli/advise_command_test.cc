// Tests of `moehill advise`: options that would have no effect are refused.
#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

class AdviseCommand : public CommandFixture {
 protected:
  AdviseCommand() : CommandFixture("advise") {}
};

TEST_F(AdviseCommand, RefusesWhatItWouldNotUse) {
  const std::string point =
      "--hidden 64 --mlp-dim 32 --experts 8 --topk 2 --shared-expert-dim 0 --hardware epyc-cluster";
  EXPECT_EQ(run(point), 0) << read("err");
  EXPECT_EQ(run(point + " --distribution both"), 2);
  EXPECT_NE(read("err").find("--distribution: got several"), std::string::npos) << read("err");
  EXPECT_EQ(run(point + " --probe probe.json"), 2);
  EXPECT_NE(read("err").find("--probe needs --hardware probe"), std::string::npos) << read("err");
}

}  // namespace
}  // namespace moehill
