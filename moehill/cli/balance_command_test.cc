// Tests of `moehill balance`: every line of its table is of the routing that was asked for.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

class BalanceOutcomes : public CommandFixture {
 protected:
  BalanceOutcomes() : CommandFixture("balance") {}

  // Returns the outcomes by the name of their placement.
  std::map<std::string, nlohmann::json> outcomes(const std::string& options) const {
    const std::string point =
        "--hardware epyc-cluster --devices 4 --tokens 256 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
        "--shared-expert-dim 0 --json out.jsonl ";
    EXPECT_EQ(run(point + options), 0) << options << ": " << read("err");
    std::map<std::string, nlohmann::json> by_name;
    std::istringstream lines(read("out.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json json = nlohmann::json::parse(line);
      by_name[json["placement"].get<std::string>()] = json;
    }
    return by_name;
  }
};

// An update this small changes no choice, so the line of the bias is that of the placement by number.
TEST_F(BalanceOutcomes, ABiasIsTriedOnTheRoutingThatWasAskedFor) {
  for (const char* options :
       {"--router sigmoid,bias,normalized --distribution hot-device:0.7",
        "--router sigmoid,bias,normalized --distribution W4",
        "--router softmax,bias,zero:8 --distribution dirichlet:1",
        "--router softmax,bias,zero:8 --distribution hot-device:0.7",
        "--router sigmoid,bias,normalized --distribution random --fit hot-device:0.7"}) {
    auto all = outcomes(std::string(options) + " --bias-updates 1 --bias-rate 1e-9");
    const nlohmann::json by_number = all["contiguous"], biased = all["bias, 1 update"];
    ASSERT_FALSE(by_number.is_null() || biased.is_null()) << options;
    for (const char* field : {"expert_max_over_mean", "device_max_over_mean", "time_s"})
      EXPECT_EQ(by_number[field], biased[field]) << options << ": " << field;
  }
}

TEST_F(BalanceOutcomes, TheAnswerComesFirst) {
  const auto all = outcomes("--distribution zipf:1.2");
  const bool gains = all.at("greedy")["time_s"] < all.at("contiguous")["time_s"];
  EXPECT_EQ(
      read("out").rfind(gains ? "greedy is predicted to be the fastest: " : "No placement is predicted", 0),
      0u)
      << read("out");
  EXPECT_NE(read("out").find(" on epyc-cluster, 1 node x 4 devices x 16 cores; predicted"), std::string::npos)
      << read("out");
  EXPECT_EQ(all.at("contiguous")["nodes"], 1);
}

TEST_F(BalanceOutcomes, ItEndsWithHowSureItIsAndWhatComesNext) {
  outcomes("--distribution zipf:1.2");
  EXPECT_NE(read("out").find("\nHow sure this is:\nHow far the model is off on this hardware is not known"),
            std::string::npos)
      << read("out");
  EXPECT_NE(read("out").find("\nNext: --save-placement FILE keeps the fastest, "), std::string::npos)
      << read("out");
  outcomes("--distribution zipf:1.2 --save-placement best.json");
  EXPECT_NE(read("out").find("\nNext: moehill bench --parallel-mode ep --placement best.json, "),
            std::string::npos)
      << read("out");
  outcomes("--router sigmoid,bias,normalized --distribution zipf:1.2 --bias-updates 1");
  EXPECT_NE(read("out").find("\nNext: without --bias-updates, --save-placement FILE "), std::string::npos)
      << "both together are refused: " << read("out");
}

// The seed draws the routing that is tried and the one that placements are made for; a trace needs none.
TEST_F(BalanceOutcomes, TheSeedIsRecordedAndRefusedIfNothingIsDrawn) {
  EXPECT_EQ(outcomes("--seed 5").at("contiguous")["seed"], 5);
  write("t.jsonl", R"({"step":0,"layer":0,"rank":0,"topk":2,"top_indices":[[0,1],[4,7]]})");
  const std::string point =
      "--hardware epyc-cluster --devices 2 --tokens 2 --hidden 64 --mlp-dim 32 --experts 8 --topk 2 "
      "--shared-expert-dim 0 --seed 5 ";
  const std::string trace = "trace:t.jsonl";
  EXPECT_EQ(run(point + "--fit zipf:1 --distribution " + trace), 0) << read("err");
  EXPECT_EQ(run(point + "--distribution zipf:1 --fit " + trace), 0) << read("err");
  for (const std::string& both : {"--distribution " + trace, "--distribution " + trace + " --fit " + trace}) {
    EXPECT_EQ(run(point + both), 2) << both;
    EXPECT_NE(read("err").find("--seed cannot be used with a trace"), std::string::npos) << read("err");
  }
}

// Placing experts is for ep alone, so no mode can be chosen.
TEST_F(BalanceOutcomes, HasNoOptionOfTheMode) {
  ASSERT_EQ(run("--help-all"), 0);
  EXPECT_EQ(read("out").find("--parallel-mode"), std::string::npos) << read("out");
  EXPECT_EQ(run("--parallel-mode ep"), 2);
  EXPECT_NE(read("err").find("unknown option: got '--parallel-mode'"), std::string::npos) << read("err");
}

TEST_F(BalanceOutcomes, AutoIsThePathPredictedFastest) {
  std::map<std::string, double> seconds;
  for (const char* path : {"compact_psum", "dense_masked", "ring_ag_rs", "ragged_a2a", "fused"})
    seconds[path] = outcomes(std::string("--ep-path ") + path)["contiguous"]["time_s"];
  const auto best = std::min_element(seconds.begin(), seconds.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  const nlohmann::json chosen = outcomes("--ep-path auto")["contiguous"];
  EXPECT_EQ(chosen["time_s"], best->second) << chosen["spread"] << " and not " << best->first;
  EXPECT_EQ(chosen["bench_pass"], "forward_backward");
  EXPECT_EQ(outcomes("--bench-pass forward")["contiguous"]["bench_pass"], "forward");
  ASSERT_EQ(run("--help-all"), 0);
  EXPECT_NE(read("out").find("fused|hierarchical=fused"), std::string::npos) << read("out");
}

}  // namespace
}  // namespace moehill
