// Tests of traces and placements on the command line: they are saved with two devices and replayed with
// others, and bad ones are refused with exit status 2, leaving no file behind.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "moehill/base/refusal_fixture.h"
#include "moehill/cli/command_fixture.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

class TraceCommand : public CommandFixture {
 protected:
  TraceCommand() : CommandFixture("bench") {}

  nlohmann::json record() const { return nlohmann::json::parse(read("r.jsonl")); }
  std::vector<float> array(const std::string& name) const {
    const std::string bytes = read(name);
    std::vector<float> values((bytes.size() - 128) / 4);
    std::memcpy(values.data(), bytes.data() + 128, values.size() * 4);
    return values;
  }
};

class BalanceCommand : public CommandFixture {
 protected:
  BalanceCommand() : CommandFixture("balance") {}
};

const std::string kBlock =
    "--tokens 45 --hidden 32 --mlp-dim 24 --experts 12 --topk 3 --shared-expert-dim 16 --dtype f32 "
    "--iters 1 --warmup 0 --threads-per-device 1 --check full --json r.jsonl ";

TEST_F(TraceCommand, SavedAtTwoDevicesIsReplayedAtOthers) {
  for (const std::string name : {"t.jsonl", "t.npy"}) {
    ASSERT_EQ(run(kBlock +
                  "--distribution dirichlet:9 --parallel-mode ep --ep-path fused --devices 2 --dump two "
                  "--save-routing " +
                  name),
              0)
        << read("err");
    EXPECT_NE(read("out").find("routing saved: --distribution trace:t."), std::string::npos) << read("out");
    const std::string hash = record()["hash"]["output"];
    const nlohmann::json load = record()["load"];
    const std::string trace = name == "t.npy" ? "t.npy,gates=t.gates.npy " : name + " ";
    const std::vector<float> y = array("two/y.npy");
    // Both files hold the same routing, as the run on two devices shows, so the other runs need only one of
    // them.
    const std::vector<std::string> others =
        name == "t.npy" ? std::vector<std::string>{"2"} : std::vector<std::string>{"1", "2", "3", "4"};
    for (const std::string& devices : others) {
      ASSERT_EQ(run(kBlock + "--parallel-mode ep --ep-path fused --devices " + devices +
                    " --dump other --distribution trace:" + trace),
                0)
          << read("err");
      EXPECT_EQ(record()["check"]["status"], "passed");
      EXPECT_EQ(record()["load"], load) << devices;
      EXPECT_EQ(read("other/topk_idx.npy"), read("two/topk_idx.npy"));
      EXPECT_EQ(read("other/topk_weights.npy"), read("two/topk_weights.npy"));
      if (devices == "2") {
        EXPECT_EQ(record()["hash"]["output"], hash);
      }
      const std::vector<float> again = array("other/y.npy");
      ASSERT_EQ(again.size(), y.size());
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(again[i], y[i], 1e-6 * (1 + std::abs(y[i]))) << devices;
      EXPECT_NE(read("out").find("largest load over mean"), std::string::npos) << read("out");
    }
  }
}

// measure/measurement_test.cc tests every path and capacity.
TEST_F(TraceCommand, AssignmentsOfNobodyArePassedOver) {
  write("t.jsonl", trace_with_nobodys());
  const std::string drop = " --capacity-policy drop --capacity-factor 0.4";
  for (const std::string& spread : {std::string("none"), "ep --devices 3 --ep-path fused" + drop}) {
    ASSERT_EQ(run(kBlock + "--distribution trace:t.jsonl --parallel-mode " + spread), 0)
        << spread << read("err") << read("out");
    EXPECT_EQ(record()["check"]["status"], "passed") << spread;
    EXPECT_EQ(record()["capacity"]["num_unassigned"], kNobodys);
    EXPECT_EQ(record()["capacity"]["num_dropped"] == 0, spread == "none") << spread;
  }
}

TEST_F(TraceCommand, ABalanceLossIsInTheRecord) {
  const std::string loss = "--router-grad --balance-loss balance=0.5,sequence=0.25:9,z=0.01 ";
  ASSERT_EQ(run(kBlock + loss + "--parallel-mode both --devices 3 --ep-path fused"), 0) << read("err");
  std::istringstream lines(read("r.jsonl"));
  nlohmann::json before;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json losses = nlohmann::json::parse(line)["losses"];
    EXPECT_GT(losses["balance"], 1);
    EXPECT_GT(losses["sequence"], losses["balance"]) << "few tokens are less balanced";
    EXPECT_NEAR(losses["sum"].get<double>(),
                0.5 * losses["balance"].get<double>() + 0.25 * losses["sequence"].get<double>() +
                    0.01 * losses["z"].get<double>(),
                1e-12);
    EXPECT_TRUE(before.is_null() || losses == before) << "none and ep";
    before = losses;
  }
  EXPECT_NE(read("out").find("ep: losses: balance 1."), std::string::npos) << read("out");
  ASSERT_EQ(run(kBlock), 0) << read("err");
  EXPECT_FALSE(record().contains("losses"));
}

TEST_F(TraceCommand, NoRouterIsRecordedAsIfItHadChosen) {
  write("t.jsonl", trace_with_nobodys());
  const std::string preset = kBlock + "--preset qwen3-30b-a3b --distribution ";
  ASSERT_EQ(run(preset + "trace:t.jsonl"), 0) << read("err");
  EXPECT_EQ(record()["config"]["router"], "trace");
  EXPECT_EQ(read("out").find("router="), std::string::npos) << read("out");
  ASSERT_EQ(run(preset + "random"), 0) << read("err");
  EXPECT_EQ(record()["config"]["router"], "softmax,normalized");
  EXPECT_NE(read("out").find("router=softmax,normalized"), std::string::npos) << read("out");
}

TEST_F(TraceCommand, BadTracesEndWithStatusTwoAndLeaveNothing) {
  write("t.jsonl", R"({"step":0,"layer":2,"rank":0,"topk":3,"top_indices":[[0,1,2],[3,4,12]]})");
  write("g.jsonl", R"({"step":0,"layer":2,"rank":0,"topk":3,"top_indices":[[0,1,2],[3,4,11]]})");
  write("t.pt", std::string("PK\x03\x04\0\0", 6));
  const auto num_files = [&] {
    return std::distance(fs::recursive_directory_iterator(folder_), fs::recursive_directory_iterator());
  };
  run("--distribution none");  // for the files of what it says
  const auto before = num_files();
  for (const std::string arguments :
       {"--distribution trace:t.jsonl", "--distribution trace:t.jsonl --tokens 2",
        "--distribution trace:t.pt", "--distribution trace:none.npy", "--distribution trace:",
        "--distribution trace:g.jsonl --tokens auto", "--distribution trace:g.jsonl --tokens 2 --router-grad",
        "--distribution trace:g.jsonl,layer=1 --tokens 2", "--save-routing x.csv", "--save-routing x/y.npy",
        "--save-routing x.npy --router softmax,zero:4", "--save-routing x.npy --topk-list 1,2",
        "--save-routing x.npy --distribution both",
        "--distribution trace:g.jsonl --tokens 2 --save-routing ./g.jsonl", "--distribution W8",
        "--distribution W4 --router-grad", "--distribution W4 --router in-step",
        "--distribution W4 --capacity-policy drop --capacity-factor 1 --capacity-spares 1",
        "--distribution k-hot:2,0.5"}) {
    std::string block = kBlock;
    if (arguments.find("--tokens") != std::string::npos) block.replace(block.find("--tokens 45 "), 12, "");
    if (arguments.find("--topk-list") != std::string::npos) block.replace(block.find("--topk 3 "), 9, "");
    EXPECT_EQ(run(block + arguments), 2) << arguments << read("out");
    EXPECT_TRUE(is_refusal(read("err"))) << read("err");
    EXPECT_EQ(num_files(), before) << arguments;
  }
}

const std::string kTrace = MOEHILL_SOURCE_DIR "/experiments/routing/dirichlet-9.08.jsonl";
const std::string kShapeOfTrace =
    "--tokens 2048 --hidden 16 --mlp-dim 16 --experts 64 --topk 4 --shared-expert-dim 0 --json r.jsonl ";

TEST_F(TraceCommand, ShippedTraceIsOfItsDistribution) {
  ASSERT_EQ(run(kShapeOfTrace + "--iters 1 --distribution trace:" + kTrace), 0) << read("err");
  const nlohmann::json replayed = record();
  ASSERT_EQ(run(kShapeOfTrace + "--iters 1 --distribution dirichlet:9.08"), 0) << read("err");
  EXPECT_EQ(record()["load"], replayed["load"]);
  EXPECT_EQ(record()["hash"]["output"], replayed["hash"]["output"]);
}

TEST_F(BalanceCommand, SaysWhatPlacementsGainAndCost) {
  ASSERT_EQ(run("--hardware epyc-cluster --devices 8 --copies 8 " + kShapeOfTrace +
                "--distribution trace:" + kTrace),
            0)
      << read("err");
  EXPECT_NE(read("out").find("the most to expect"), std::string::npos) << "fitted on what it is tried on";
  std::vector<nlohmann::json> outcomes;
  std::istringstream lines(read("r.jsonl"));
  for (std::string line; std::getline(lines, line);) outcomes.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0]["placement"], "contiguous");
  EXPECT_EQ(outcomes[0]["moved_bytes"], 0);
  EXPECT_TRUE(outcomes[0]["break_even_steps"].is_null());
  EXPECT_LT(outcomes[1]["device_max_over_mean"], outcomes[0]["device_max_over_mean"]);
  EXPECT_LE(outcomes[2]["device_max_over_mean"], outcomes[0]["device_max_over_mean"]);
  EXPECT_EQ(outcomes[1]["moved_bytes"], 3 * 16 * 16 * 2 * outcomes[1]["moved_experts"].get<int>());
  EXPECT_LT(outcomes[2]["expert_max_over_mean"], outcomes[0]["expert_max_over_mean"]);
}

TEST_F(BalanceCommand, BiasUpdatesBalanceTheLoad) {
  ASSERT_EQ(
      run("--hardware epyc-cluster --devices 4 --experts 16 --topk 2 --tokens 1024 --router "
          "sigmoid,bias,normalized --distribution zipf:1 --bias-updates 200 --bias-rate 0.01 --json r.jsonl"),
      0)
      << read("err");
  std::vector<nlohmann::json> outcomes;
  std::istringstream lines(read("r.jsonl"));
  for (std::string line; std::getline(lines, line);) outcomes.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[2]["placement"], "bias, 200 updates");
  EXPECT_EQ(outcomes[2]["moved_experts"], 0);
  EXPECT_GT(outcomes[0]["expert_max_over_mean"], 2);
  EXPECT_LT(outcomes[2]["expert_max_over_mean"], 1.2);
}

// Balance predicts and saves a placement, which bench then uses.
TEST_F(BalanceCommand, WhatItSavesIsPlacedByBench) {
  const std::string shape =
      "--tokens 64 --hidden 32 --mlp-dim 24 --experts 12 --topk 3 --shared-expert-dim 0 --devices 2 "
      "--distribution zipf:1 --json r.jsonl ";
  ASSERT_EQ(run("--hardware epyc-cluster --copies 4 --save-placement p.json " + shape), 0) << read("err");
  command_ = "bench";
  for (const std::string placement : {"p.json", "greedy", "greedy:3", "hierarchical:2,6"}) {
    ASSERT_EQ(
        run("--parallel-mode ep --ep-path fused --iters 1 --threads-per-device 1 --check full --placement " +
            placement + " " + shape),
        0)
        << placement << read("err") << read("out");
    const auto record = nlohmann::json::parse(read("r.jsonl"));
    EXPECT_EQ(record["check"]["status"], "passed") << placement;
    EXPECT_GE(record["config"]["placement"].size(), 12u) << placement;
  }
}

TEST_F(BalanceCommand, RefusesPlacementsThatCannotBe) {
  const std::string shape = "--hardware epyc-cluster --experts 12 --topk 2 --tokens 64 ";
  for (const std::string arguments :
       {"--devices 1", "--devices 4 --copies 37", "--devices 4 --nodes 2", "--devices 4 --nodes 3 --groups 6",
        "--devices 4 --nodes 2 --groups 5", "--devices 4 --distribution both", "--devices 4 --fit both",
        "--devices 4 --parallel-mode none", "--devices 4 --bias-updates 5",
        "--devices 4 --router sigmoid,bias,in-step", "--devices 4 --save-placement none/p.json",
        "--devices 4 --fit trace:none.npy", "--devices 4 --bias-rate 0.01",
        "--devices 4 --router sigmoid,bias --bias-updates 5 --save-placement p.json"}) {
    EXPECT_EQ(run(shape + "--json r.jsonl " + arguments), 2) << arguments << read("out");
    EXPECT_TRUE(is_refusal(read("err"))) << read("err");
    EXPECT_FALSE(fs::exists(folder_ + "/r.jsonl")) << arguments;
  }
  EXPECT_EQ(run(shape + "--devices 4 --nodes 2 --groups 6 --fit drift:1,10,0 --distribution drift:1,10,5"), 0)
      << read("err");
  EXPECT_FALSE(fs::exists(folder_ + "/p.json"));
}

TEST_F(BalanceCommand, RefusesATraceOfFitInItsName) {
  for (const std::string fit : {"trace:none.npy", "trace:none.npy,layer=x", "zipf"}) {
    EXPECT_EQ(run("--hardware epyc-cluster --devices 4 --fit " + fit), 2);
    EXPECT_EQ(read("err").find("--fit"), read("err").find("--")) << read("err");
    EXPECT_EQ(read("err").find("--distribution"), std::string::npos) << read("err");
  }
}

// The router of a preset is not used if a trace already has the choices.
TEST_F(BalanceCommand, NamesExpertFormAndRouter) {
  const auto line = [&] {
    return nlohmann::json::parse(read("r.jsonl").substr(0, read("r.jsonl").find('\n')));
  };
  write("t.jsonl", R"({"step":0,"layer":0,"rank":0,"topk":4,"top_indices":[[0,1,2,3],[4,5,6,31]]})");
  const std::string preset =
      "--preset gpt-oss-20b --tokens 2 --devices 2 --hardware epyc-cluster --json r.jsonl ";
  for (const std::string command : {"balance", "predict"}) {
    command_ = command;
    const std::string mode = command == "predict" ? "--parallel-mode ep " : "";
    ASSERT_EQ(run(preset + mode), 0) << read("err");
    EXPECT_EQ(line()["expert_form"], "swiglu-oai,limit:7,alpha:1.702,biases");
    EXPECT_EQ(line()["router"], "chosen-softmax");
    EXPECT_NE(read("out").find("form=swiglu-oai,limit:7"), std::string::npos) << read("out");
    ASSERT_EQ(run(preset + mode + "--distribution trace:t.jsonl"), 0) << read("err");
    EXPECT_EQ(line()["router"], "trace");
  }
  command_ = "balance";
  EXPECT_EQ(run(preset + "--router sigmoid --distribution trace:t.jsonl"), 2);
  EXPECT_NE(read("err").find("--router cannot be used with a trace"), std::string::npos) << read("err");
  ASSERT_EQ(run("--preset qwen3-30b-a3b --devices 2 --hardware epyc-cluster --json r.jsonl"), 0)
      << read("err");
  EXPECT_EQ(line()["router"], "softmax,normalized");
  EXPECT_NE(read("out").find("router=softmax,normalized"), std::string::npos) << read("out");
}

}  // namespace
}  // namespace moehill
