// Traces on the command line: saved at two devices and replayed at others, refused with status 2 and nothing
// left.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace moehill {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TraceCommand : public ::testing::Test {
 protected:
  TraceCommand() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / ("moehill_trace_" + std::to_string(getpid()) + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~TraceCommand() override { fs::remove_all(folder_); }

  // Status; the output is in out_ and err_.
  int run(const std::string& arguments) {
    const std::string line =
        "cd " + folder_.string() + " && " MOEHILL_BINARY " " + arguments + " >.out 2>.err </dev/null";
    const int raw = std::system(line.c_str());
    out_ = contents(folder_ / ".out"), err_ = contents(folder_ / ".err");
    fs::remove(folder_ / ".out"), fs::remove(folder_ / ".err");
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128;
  }
  nlohmann::json record() const { return nlohmann::json::parse(contents(folder_ / "r.jsonl")); }
  std::vector<float> array(const std::string& name) const {
    const std::string bytes = contents(folder_ / name);
    std::vector<float> values((bytes.size() - 128) / 4);
    std::memcpy(values.data(), bytes.data() + 128, values.size() * 4);
    return values;
  }

  fs::path folder_;
  std::string out_, err_;
};

const std::string kBlock =
    "bench --tokens 45 --hidden 32 --mlp-dim 24 --experts 12 --topk 3 --shared-expert-dim 16 --dtype f32 "
    "--iters 1 "
    "--warmup 0 --threads-per-device 1 --check full --json r.jsonl ";

TEST_F(TraceCommand, SavedAtTwoDevicesIsReplayedAtOthers) {
  for (const std::string name : {"t.jsonl", "t.npy"}) {
    ASSERT_EQ(run(kBlock +
                  "--distribution dirichlet:0.5 --parallel-mode ep --ep-path fused --devices 2 --dump two "
                  "--save-routing " +
                  name),
              0)
        << err_;
    EXPECT_NE(out_.find("routing saved: --distribution trace:t."), std::string::npos) << out_;
    const std::string hash = record()["hash"]["output"];
    const nlohmann::json load = record()["load"];
    const std::string trace = name == "t.npy" ? "t.npy,gates=t.gates.npy " : name + " ";
    const std::vector<float> y = array("two/y.npy");
    for (const std::string devices : {"1", "2", "3", "4"}) {
      ASSERT_EQ(run(kBlock + "--parallel-mode ep --ep-path fused --devices " + devices +
                    " --dump other --distribution trace:" + trace),
                0)
          << err_;
      EXPECT_EQ(record()["check"]["status"], "passed");
      EXPECT_EQ(record()["load"], load) << devices;
      EXPECT_EQ(contents(folder_ / "other/topk_idx.npy"), contents(folder_ / "two/topk_idx.npy"));
      EXPECT_EQ(contents(folder_ / "other/topk_weights.npy"), contents(folder_ / "two/topk_weights.npy"));
      if (devices == "2") EXPECT_EQ(record()["hash"]["output"], hash);
      const std::vector<float> again = array("other/y.npy");
      ASSERT_EQ(again.size(), y.size());
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(again[i], y[i], 2e-5 * (1 + std::abs(y[i]))) << devices;
      EXPECT_NE(out_.find("largest load over mean"), std::string::npos) << out_;
    }
  }
}

TEST_F(TraceCommand, AssignmentsOfNobodyArePassedOverByEveryPath) {
  std::string ids;
  for (int t = 0; t < 45; ++t) {
    const int a = t * 7 % 12, b = (t * 7 + 5) % 12;
    ids += std::string(t > 0 ? "," : "") + "[" + (t % 3 == 0 ? "-1" : std::to_string(a)) + "," +
           (t % 5 == 0 ? "-1" : std::to_string(b)) + ",-1]";
  }
  std::ofstream(folder_ / "t.jsonl") << R"({"step":7,"layer":2,"rank":0,"topk":3,"top_indices":[)" << ids
                                     << "]}\n";
  for (const std::string spread :
       {"none", "dp", "ep --ep-path dense_masked", "ep --ep-path compact_psum", "ep --ep-path ring_ag_rs",
        "ep --ep-path ragged_a2a", "ep --ep-path fused"}) {
    const std::string devices = spread == "none" ? " " : " --devices 3 ";
    for (const std::string capacity : {"", " --capacity-policy drop --capacity-factor 0.4",
                                       " --capacity-policy pad --capacity-factor 0.4"}) {
      ASSERT_EQ(run(kBlock + "--distribution trace:t.jsonl --parallel-mode " + spread + devices + capacity),
                0)
          << spread << capacity << err_ << out_;
      EXPECT_EQ(record()["check"]["status"], "passed") << spread << capacity;
      EXPECT_EQ(record()["capacity"]["num_unassigned"], 45 + 15 + 9);
      EXPECT_EQ(record()["capacity"]["num_dropped"] == 0, capacity.empty()) << spread << capacity;
    }
  }
}

TEST_F(TraceCommand, BadTracesEndWithStatusTwoAndLeaveNothing) {
  std::ofstream(folder_ / "t.jsonl")
      << R"({"step":0,"layer":2,"rank":0,"topk":3,"top_indices":[[0,1,2],[3,4,12]]})";
  std::ofstream(folder_ / "t.pt", std::ios::binary) << std::string("PK\x03\x04\0\0", 6);
  const auto listing = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      names.push_back(entry.path().string());
    return names.size();
  };
  const size_t before = listing();
  for (const std::string arguments :
       {"--distribution trace:t.jsonl", "--distribution trace:t.jsonl --tokens 2",
        "--distribution trace:t.pt", "--distribution trace:none.npy",
        "--distribution trace:", "--distribution trace:t.jsonl --tokens auto",
        "--distribution trace:t.jsonl --router-grad", "--distribution trace:t.jsonl,layer=1",
        "--save-routing x.csv", "--save-routing x/y.npy", "--save-routing x.npy --topk-list 1,2",
        "--save-routing x.npy --distribution both", "--distribution trace:t.jsonl --save-routing ./t.jsonl",
        "--distribution W4", "--distribution k-hot:2,0.5"}) {
    std::string block = kBlock;
    if (arguments.find("--tokens") != std::string::npos) block.replace(block.find("--tokens 45 "), 12, "");
    if (arguments.find("--topk-list") != std::string::npos) block.replace(block.find("--topk 3 "), 9, "");
    EXPECT_EQ(run(block + arguments), 2) << arguments << out_;
    EXPECT_NE(err_.find("allowed"), std::string::npos) << err_;
    EXPECT_EQ(listing(), before) << arguments;
  }
}

TEST_F(TraceCommand, ShippedTraceIsReplayedAndSimulated) {
  const std::string trace = MOEHILL_SOURCE_DIR "/traces/dirichlet-9.08.jsonl";
  const std::string shape =
      " --tokens 2048 --hidden 16 --mlp-dim 16 --experts 64 --topk 4 --shared-expert-dim 0 ";
  ASSERT_EQ(run("bench --dtype f32 --iters 1 --json r.jsonl" + shape + "--distribution trace:" + trace), 0)
      << err_;
  const nlohmann::json replayed = record();
  ASSERT_EQ(run("bench --dtype f32 --iters 1 --json r.jsonl" + shape + "--distribution dirichlet:9.08"), 0)
      << err_;
  EXPECT_EQ(record()["load"], replayed["load"]) << "made by this distribution";
  EXPECT_EQ(record()["hash"]["output"], replayed["hash"]["output"]);
  EXPECT_EQ(run("simulate --devices 8" + shape + "--json r.jsonl --distribution trace:" + trace), 0) << err_;
}

}  // namespace
}  // namespace moehill
