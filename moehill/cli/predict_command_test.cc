// Tests of `moehill predict`: what it prints says of what it is.
#include <nlohmann/json.hpp>

#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

class PredictCommand : public CommandFixture {
 protected:
  PredictCommand() : CommandFixture("predict") {}
};

// Two predictions of one shape that differ in these had equal headings, and records with equal labels.
TEST_F(PredictCommand, NamesPassDistributionAndWire) {
  const std::string point =
      "--hardware epyc-cluster --devices 16 --tokens 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
      "--shared-expert-dim 0 --ep-path ragged_a2a --json x.jsonl ";
  ASSERT_EQ(run(point + "--bench-pass forward --distribution zipf:1 --wire fp8+scales"), 0) << read("err");
  EXPECT_NE(read("out").find(", forward, zipf:1 on epyc-cluster"), std::string::npos) << read("out");
  const nlohmann::json record = nlohmann::json::parse(read("x.jsonl"));
  EXPECT_EQ(record["bench_pass"], "forward");
  EXPECT_EQ(record["distribution"], "zipf:1");
  EXPECT_EQ(record["wire"], "fp8+scales");
  ASSERT_EQ(run(point), 0) << read("err");
  EXPECT_NE(read("out").find(", forward_backward, random on epyc-cluster"), std::string::npos) << read("out");
}

TEST_F(PredictCommand, BeginsWithTheAnswerAndEndsWithHowSureItIs) {
  const std::string point =
      "--hardware epyc-cluster --devices 8 --tokens 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
      "--shared-expert-dim 0 ";
  ASSERT_EQ(run(point + "--ep-path fused"), 0) << read("err");
  EXPECT_EQ(read("out").rfind("Predicted: a step takes ", 0), 0u) << read("out");
  EXPECT_NE(read("out").find(" ms (fused).\n"), std::string::npos) << read("out");
  EXPECT_NE(read("out").find("\nHow sure this is:\n"), std::string::npos) << read("out");
  ASSERT_EQ(run(point + "--compare-paths"), 0) << read("err");
  EXPECT_EQ(read("out").rfind("Predicted: ", 0), 0u) << read("out");
  EXPECT_NE(read("out").find(" is the fastest, "), std::string::npos) << read("out");
}

}  // namespace
}  // namespace moehill
