// Tests of `moehill roofline`: the bounds are those of the machine, and of the way in which a recorded step
// moved its rows.
#include <nlohmann/json.hpp>

#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

class RooflineCommand : public CommandFixture {
 protected:
  RooflineCommand() : CommandFixture("roofline") {}

  double bound_of_record() const {
    EXPECT_EQ(run("--record r.jsonl --hardware epyc-cluster --json bounds.jsonl"), 0) << read("err");
    return nlohmann::json::parse(read("bounds.jsonl"))["total"]["bound_s"];
  }
};

// Threads of one process read rows in place; processes copy them, which takes longer.
TEST_F(RooflineCommand, ARecordOfThreadsMovesNoRows) {
  for (const char* path : {"fused", "ring_ag_rs"}) {
    const Outcome bench = run_program(
        folder_,
        std::string(
            "bench --tokens 512 --hidden 1024 --mlp-dim 16 --experts 8 --topk 2 --shared-expert-dim 0 "
            "--bench-pass forward --iters 1 --warmup 0 --threads-per-device 1 --devices 2 "
            "--parallel-mode ep --json r.jsonl --ep-path ") +
            path);
    ASSERT_EQ(bench.status, 0) << bench.err;
    const double in_place = bound_of_record();
    nlohmann::json record = nlohmann::json::parse(read("r.jsonl"));
    EXPECT_EQ(record["layout"]["mesh"], "threads");
    record["layout"]["mesh"] = "mpi";
    write("r.jsonl", record.dump() + "\n");
    EXPECT_GT(bound_of_record(), in_place) << path;
  }
}

// A unit of epyc-cluster reads 20 GB/s alone, which is no bound of a machine that read more.
TEST_F(RooflineCommand, TheBandwidthIsThatOfTheRecord) {
  const Outcome bench =
      run_program(folder_,
                  "bench --tokens 512 --hidden 1024 --mlp-dim 16 --experts 8 --topk 2 --shared-expert-dim 0 "
                  "--bench-pass forward --iters 1 --warmup 0 --threads-per-device 1 --devices 2 "
                  "--parallel-mode ep --ep-path fused --json r.jsonl");
  ASSERT_EQ(bench.status, 0) << bench.err;
  nlohmann::json record = nlohmann::json::parse(read("r.jsonl"));
  const auto bound_at = [&](double gbps) {
    record["peak"]["read_gbps"] = gbps;
    write("r.jsonl", record.dump() + "\n");
    return bound_of_record();
  };
  EXPECT_LT(bound_at(80), bound_at(40));
}

// Two routings of one shape give the busiest device other work, and two passes every device.
TEST_F(RooflineCommand, TheRoutingAndThePassAreNamed) {
  ASSERT_EQ(run("--tokens 64 --hidden 64 --mlp-dim 16 --experts 8 --topk 2 --shared-expert-dim 0 "
                "--distribution hot-experts:2,0.5 --seed 3 --bench-pass forward --parallel-mode none "
                "--hardware epyc-cluster --json x.jsonl"),
            0)
      << read("err");
  EXPECT_NE(read("out").find(" none, forward, hot-experts:2,0.5 on "), std::string::npos) << read("out");
  const nlohmann::json record = nlohmann::json::parse(read("x.jsonl"));
  EXPECT_EQ(record["distribution"], "hot-experts:2,0.5");
  EXPECT_EQ(record["seed"], 3);
  EXPECT_NE(
      read("out").find("\nHow sure this is:\nNothing ran: the bounds are of the figures of epyc-cluster."),
      std::string::npos)
      << read("out");
  EXPECT_NE(read("out").find("\nNext: moehill bench --stage-timing"), std::string::npos) << read("out");
  EXPECT_NE(read("out").find(" moehill roofline --hardware epyc-cluster --record FILE "), std::string::npos)
      << "without it the probe of this machine would be asked for: " << read("out");
  ASSERT_EQ(run("--tokens 64 --hidden 64 --mlp-dim 16 --experts 8 --topk 2 --hardware h100-node"), 0)
      << read("err");
  EXPECT_EQ(read("out").find("\nNext: "), std::string::npos) << "bench runs on no chip: " << read("out");
}

TEST_F(RooflineCommand, BetweenNodesTheNetworkIsNamed) {
  const std::string point =
      "--tokens 512 --hidden 64 --mlp-dim 16 --experts 16 --topk 2 --shared-expert-dim 0 --parallel-mode ep "
      "--ep-path ragged_a2a --hardware epyc-cluster --json x.jsonl ";
  ASSERT_EQ(run(point + "--nodes 2"), 0) << read("err");
  const std::string far = read("out");
  EXPECT_NE(far.find("MiB between nodes; at 3.1 GB/s each way, its share of HDR InfiniBand,"),
            std::string::npos)
      << far;
  const std::string second = far.substr(far.find('\n') + 1);
  EXPECT_EQ(second.rfind("At least ", 0), 0u) << "the answer is not below the name of the step: " << far;
  EXPECT_NE(second.find("; the longest stage is "), std::string::npos) << far;
  ASSERT_EQ(run(point + "--nodes 1"), 0) << read("err");
  EXPECT_NE(read("out").find("MiB; at 10.0 GB/s each way that takes"), std::string::npos) << read("out");
}

}  // namespace
}  // namespace moehill
