// Tests of `moehill mesh` from its arguments to its exit status, table and records.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "moehill/base/folder_fixture.h"
#include "moehill/base/refusal_fixture.h"
#include "moehill/cli/commands.h"

namespace moehill {
namespace {

struct MeshOutcome {
  int status = -1;
  std::string out, err;
};

MeshOutcome run_mesh(const std::string& line) {
  std::vector<std::string> args = {"mesh"};
  std::istringstream words(line);
  for (std::string word; words >> word;) args.push_back(word);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  MeshOutcome outcome;
  outcome.status = run_command_line(args);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(MeshCommand, EveryCollectiveIsCheckedOnUnevenShares) {
  for (const char* dtype : {"f32", "bf16"}) {
    const MeshOutcome outcome = run_mesh(
        "--collective all -b 4 -e 5000 -f 7 -n 2 -w 1 --devices 3 "
        "--threads-per-device 1 --json - --dtype " +
        std::string(dtype));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    std::istringstream lines(outcome.out);
    int num_records = 0;
    for (std::string line; std::getline(lines, line); ++num_records) {
      const nlohmann::json record = nlohmann::json::parse(line);
      EXPECT_EQ(record["num_wrong"], 0) << line;
      EXPECT_EQ(record["time_s"]["n"], 2) << line;
      EXPECT_EQ(record["layout"]["devices"], 3) << line;
      EXPECT_GT(record["busbw_gbps"], 0) << line;
      EXPECT_GT(record["peak"]["copy_gbps"], 0) << line;
    }
    EXPECT_EQ(num_records, 4 * 4);  // 4, 28, 196, 1372 bytes
    EXPECT_NE(outcome.err.find("all_to_all: average busbw"), std::string::npos) << outcome.err;
  }
}

TEST(MeshCommand, OneDeviceHasNoBus) {
  const MeshOutcome outcome = run_mesh("-b 64 -e 64 -n 1 -w 0 --devices 1 --threads-per-device 1 --json -");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["busbw_gbps"], 0);
}

TEST(MeshCommand, BadInputIsOneLineAndStatusTwo) {
  const TemporaryFolder folder;
  const std::string json = folder.file("not_written.jsonl");
  for (const char* line :
       {"-b 2", "-e 4x", "-b 1M -e 1K", "-f 1", "-c 2", "--mesh mpi", "--collective gather",
        "--devices 64 --threads-per-device 64", "-e 1024G", "-q 5", "stray"}) {
    const MeshOutcome outcome = run_mesh(std::string(line) + " --json " + json);
    EXPECT_EQ(outcome.status, 2) << line;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_TRUE(is_refusal(outcome.err)) << outcome.err;
    EXPECT_EQ(outcome.out, "") << line;
    EXPECT_FALSE(std::filesystem::exists(json)) << line;
  }
  EXPECT_EQ(run_mesh("--json /nowhere/x.jsonl").status, 2);
}

TEST(MeshCommand, RefusedMemoryNamesItsPartsAndTheRemedy) {
  const MeshOutcome outcome = run_mesh("-e 1024G");
  for (const char* part : {"predicted memory", "inputs", "outputs", "--max-bytes"}) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
}

TEST(MeshCommand, HelpEndsInThreeExamplesAndShowsShortNames) {
  const MeshOutcome outcome = run_mesh("--help");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.out.find("-b,--min-bytes"), std::string::npos) << outcome.out;
  std::istringstream lines(outcome.out.substr(outcome.out.find("Examples:")));
  int num_examples = 0;
  for (std::string line; std::getline(lines, line);) num_examples += line.find("  moehill mesh") == 0;
  EXPECT_EQ(num_examples, 3);
}

}  // namespace
}  // namespace moehill
