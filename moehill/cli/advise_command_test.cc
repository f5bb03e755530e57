// Tests of `moehill advise`: options that would have no effect are refused, and the program takes the
// commands that are printed.
#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/command_fixture.h"
#include "moehill/cli/simulate_options.h"
#include "moehill/measure/points.h"

namespace moehill {
namespace {

// Throws InputError if bench would refuse these words of a printed line, which begin with a launcher or with
// `moehill`.
void parse_printed_bench(const std::vector<std::string>& line) {
  const auto bench = std::find(line.begin(), line.end(), "bench");
  std::optional<BenchOptions> options = parse_bench_options({bench + 1, line.end()});
  if (line.front() == "mpirun") {  // -n DEVICES --map-by ppr:DEVICES:node: a process for each device
    options->mesh = MeshKind::mpi;
    options->devices = std::stoll(line.at(2));
    options->ranks_per_node = std::stoll(line.at(4).substr(4));
  }
  expand_points(*options, 16);
}

class AdviseCommand : public CommandFixture {
 protected:
  AdviseCommand() : CommandFixture("advise") {}

  // Expects that the program takes each command that stands under "to verify:", and returns how many of them
  // are of `simulate` and of `bench`.
  std::pair<int, int> parse_printed() const {
    std::pair<int, int> counts;
    const std::string text = read("out");
    std::istringstream lines(text.substr(text.find("to verify:")));
    for (std::string line; std::getline(lines, line);) {
      const std::vector<std::string> parts = words(line);
      const auto names = [&](const char* command) {
        return std::find(parts.begin(), parts.end(), command) != parts.end();
      };
      if (!names("moehill") || line.find("  moehill itself") == 0) continue;
      EXPECT_TRUE(names("simulate") || names("bench")) << line;
      try {
        if (names("simulate")) parse_simulate_options({parts.begin() + 2, parts.end()});
        if (names("bench")) parse_printed_bench(parts);
      } catch (const InputError& error) {
        ADD_FAILURE() << line << "\n" << error.what();
      }
      counts.first += names("simulate") ? 1 : 0;
      counts.second += names("bench") ? 1 : 0;
    }
    return counts;
  }

  // Writes a model's config.json and returns the option that names it.
  std::string written_config() const {
    write("config.json",
          R"({"model_type": "olmoe", "hidden_size": 64, "intermediate_size": 32, "num_experts": 16,
              "num_experts_per_tok": 2, "num_hidden_layers": 2, "norm_topk_prob": false,
              "hidden_act": "silu"})");
    return "--config " + folder_ + "/config.json ";
  }
};

TEST_F(AdviseCommand, RefusesWhatItWouldNotUse) {
  const std::string point =
      "--hidden 64 --mlp-dim 32 --experts 8 --topk 2 --shared-expert-dim 0 --hardware epyc-cluster";
  EXPECT_EQ(run(point), 0) << read("err");
  EXPECT_EQ(run(point + " --distribution both"), 2);
  EXPECT_NE(read("err").find("--distribution: got several"), std::string::npos) << read("err");
  EXPECT_EQ(run(point + " --probe probe.json"), 2);
  EXPECT_NE(read("err").find("--probe needs --hardware probe"), std::string::npos) << read("err");
  EXPECT_EQ(run(point + " --distribution trace:t.jsonl --seed 1"), 2);
  EXPECT_NE(read("err").find("--seed cannot be used with a trace"), std::string::npos) << read("err");
}

TEST_F(AdviseCommand, EachPrintedCommandIsOneThatTheProgramTakes) {
  const std::string config = written_config();
  const std::string small = "--hidden 64 --mlp-dim 32 --experts 32 --topk 2 --shared-expert-dim 32 ";
  for (const std::string& question :
       {std::string("--preset qwen3-30b-a3b --nodes 2"), config + "--nodes 2",
        config + "--bench-pass forward --experts 32", std::string("--preset deepseek-v3 --nodes 16"), small,
        small + "--nodes 3 --seed 7 --dtype f32", small + "--nodes 2 --wire fp8+scales",
        small + "--nodes 2 --distribution hot-device:0.5", small + "--nodes 2 --distribution balanced",
        small + "--expert-form silu,latent:32 --nodes 2", std::string("--nodes 2")}) {
    ASSERT_EQ(run(question + " --tokens-per-device 16 --hardware epyc-cluster"), 0) << question << "\n"
                                                                                    << read("err");
    const auto [simulated, measured] = parse_printed();
    const bool has_none = read("out").find("without SimGrid") != std::string::npos;
    EXPECT_EQ(simulated, has_none ? 0 : 1) << question << "\n" << read("out");
    EXPECT_EQ(measured, 2) << question << "\n" << read("out");
  }
  ASSERT_EQ(run("--preset deepseek-v3 --nodes 8 --hardware h100-node --tokens-per-device 16"), 0)
      << read("err");
  EXPECT_EQ(parse_printed().second, 0) << "moehill does not run on chips";
}

// The option was refused by simulate, although the advice printed it.
TEST_F(AdviseCommand, TheSimulationOfAConfigRuns) {
  ASSERT_EQ(run(written_config() + "--tokens-per-device 16 --hardware epyc-cluster"), 0) << read("err");
  const std::string text = read("out");
  const size_t begin = text.find("  moehill simulate ");
  if (begin == std::string::npos) GTEST_SKIP() << "this build has no simulator";
  const size_t first = begin + std::string("  moehill ").size();
  const Outcome simulated = run_program(folder_, text.substr(first, text.find('\n', first) - first));
  EXPECT_EQ(simulated.status, 0) << simulated.err;
  EXPECT_NE(simulated.out.find("hidden=64"), std::string::npos) << simulated.out;
}

}  // namespace
}  // namespace moehill
