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
  EXPECT_EQ(record["seed"], 0);
  ASSERT_EQ(run(point), 0) << read("err");
  EXPECT_NE(read("out").find(", forward_backward, random on epyc-cluster"), std::string::npos) << read("out");
}

// Two seeds draw two routings, and a trace none.
TEST_F(PredictCommand, TheSeedIsInTheRecordAndIsRefusedWithATrace) {
  const std::string point =
      "--hardware epyc-cluster --devices 2 --tokens 2 --hidden 64 --mlp-dim 32 --experts 8 --topk 2 "
      "--shared-expert-dim 0 --json x.jsonl ";
  ASSERT_EQ(run(point + "--parallel-mode ep --seed 4294967295"), 0) << read("err");
  EXPECT_EQ(nlohmann::json::parse(read("x.jsonl"))["seed"], 4294967295);
  write("t.jsonl", R"({"step":0,"layer":0,"rank":0,"topk":2,"top_indices":[[0,1],[4,7]]})");
  ASSERT_EQ(run(point + "--distribution trace:t.jsonl"), 0) << read("err");
  for (const char* command : {"predict", "roofline"}) {
    command_ = command;
    EXPECT_EQ(run(point + "--distribution trace:t.jsonl --seed 1"), 2) << command;
    EXPECT_NE(read("err").find("--seed cannot be used with a trace"), std::string::npos) << read("err");
  }
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

// Stages of two modes are compared side by side, and not from one table to the next.
TEST_F(PredictCommand, TheStagesOfSeveralModesAreOneTable) {
  const std::string point =
      "--hardware epyc-cluster --devices 8 --tokens 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
      "--shared-expert-dim 0 --ep-path fused ";
  ASSERT_EQ(run(point + "--parallel-mode both"), 0) << read("err");
  const std::string out = read("out");
  const size_t begin = out.find("\nstage ");
  ASSERT_NE(begin, std::string::npos) << out;
  const std::string head = out.substr(begin + 1, out.find('\n', begin + 1) - begin - 1);
  EXPECT_NE(head.find(" none "), std::string::npos) << out;
  EXPECT_TRUE(head.ends_with(" fused")) << out;
  EXPECT_EQ(out.find("\nstage ", begin + 1), std::string::npos) << "there are two tables: " << out;
  for (const char* line : {"\nnone: bound by ", "\nfused: bound by "})
    EXPECT_NE(out.find(line), std::string::npos) << out;
  ASSERT_EQ(run(point + "--parallel-mode ep"), 0) << read("err");
  EXPECT_NE(read("out").find(" products "), std::string::npos) << "one mode has the parts of each stage";
}

// One table over tokens and top-k does not say in each cell which devices it is for.
TEST_F(PredictCommand, TheCrossoverSaysOnWhichDevices) {
  const std::string point = "--crossover --hidden 64 --mlp-dim 32 --experts 16 --shared-expert-dim 0 ";
  ASSERT_EQ(run(point + "--hardware epyc-cluster --nodes 2"), 0) << read("err");
  EXPECT_NE(read("out").find(" on epyc-cluster, 2 nodes x 8 devices x 16 cores, "), std::string::npos)
      << read("out");
}

TEST_F(PredictCommand, TakesTheBlockOfAConfig) {
  write("config.json",
        R"({"model_type": "olmoe", "hidden_size": 64, "intermediate_size": 32, "num_experts": 16,
            "num_experts_per_tok": 2, "num_hidden_layers": 2, "norm_topk_prob": false,
            "hidden_act": "silu"})");
  ASSERT_EQ(run("--config config.json --tokens 64 --hardware epyc-cluster"), 0) << read("err");
  EXPECT_NE(read("out").find("tokens=64 hidden=64 mlp_dim=32 experts=16 topk=2 shared=0"), std::string::npos)
      << read("out");
  EXPECT_EQ(run("--config config.json --preset olmoe-1b-7b --tokens 64 --hardware epyc-cluster"), 2);
}

}  // namespace
}  // namespace moehill
