// Tests of results that are known by their bits: a check is taken over only from a checked record with the
// same options, operands and results.
#include "moehill/measure/checked_results.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "moehill/base/folder_fixture.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/measurement.h"

namespace moehill {
namespace {

class CheckedResultsTest : public testing::Test {
 protected:
  CheckedResultsTest() {
    options_.shape = {24, 16, 8, 4, 2, 8, DType::f32};
    options_.modes = {ParallelMode::ep};
    options_.devices = 2;
    options_.threads_per_device = 1;
    options_.schedule.warmup = 0;
    options_.schedule.iters = 2;
    options_.mesh = MeshKind::threads;
  }

  // Measures one point and returns its record, of process number `process`.
  Json record_of(const BenchOptions& options, uint64_t process) {
    const Job job;
    Yardstick yardstick({});
    CommandResult command;
    command.process_id = process;
    command.predicted_bytes = command.peak_rss_bytes = {1};
    Measurement measurement(options, expand_points(options, 2), job, yardstick, {});
    measurement.prepare();
    measurement.time(&command);
    command.points = measurement.take_results();
    return json_of(make_record(options, command, 0));
  }
  // Measures the point of `options` beside this record.
  Json record_beside(BenchOptions options, const Json& record) {
    options.checked_results = std::make_shared<const CheckedResults>(file_of(json_line(record)));
    return record_of(options, 2);
  }
  std::string file_of(const std::string& text) const {
    const std::string file = place_.file("records.jsonl");
    std::ofstream(file) << text;
    return file;
  }
  static bool was_checked_again(const Json& record) { return !record["check"].contains("same_bits_as"); }

  const TemporaryFolder place_;
  BenchOptions options_;
};

TEST_F(CheckedResultsTest, ARunWithTheSameBitsTakesTheVerdictOver) {
  const Json first = record_of(options_, 1), second = record_beside(options_, first);
  ASSERT_EQ(first["check"]["status"], "passed");
  EXPECT_TRUE(was_checked_again(first));
  EXPECT_EQ(second["check"]["same_bits_as"], "0000000000000001");
  EXPECT_EQ(second["hash"], first["hash"]);
  EXPECT_TRUE(second["tflops"].is_number()) << "it is a result as any other";
  for (const char* name : {"status", "forward_rel_err", "grad_rel_err", "worst_row", "what", "rows", "how",
                           "sampled_rows", "seed", "worst_bounds", "worst_number"})
    EXPECT_EQ(second["check"][name], first["check"][name]) << name;
  EXPECT_NE(second["check"]["timed_steps"], first["check"]["timed_steps"]) << "no step was checked here";
  // The number of steps and the clocks in them do not change the results.
  BenchOptions longer = options_;
  longer.schedule.iters = 3;
  longer.stage_timing = true;
  EXPECT_FALSE(was_checked_again(record_beside(longer, first)));
  // A third run names the process that checked, not the one between.
  EXPECT_EQ(record_beside(options_, second)["check"]["same_bits_as"], "0000000000000001");
}

TEST_F(CheckedResultsTest, OtherBitsAreChecked) {
  const Json first = record_of(options_, 1);
  options_.check_seed = 5;
  for (const char* hash : {"operands", "results", "other_results"}) {
    Json other = first;
    other["hash"][hash] = "0123456789abcdef";
    const Json second = record_beside(options_, other);
    EXPECT_TRUE(was_checked_again(second)) << hash;
    EXPECT_EQ(second["check"]["status"], "passed") << hash;
    EXPECT_EQ(second["check"]["seed"], 5) << hash << ": the errors are not those of the other run";
    EXPECT_EQ(second["hash"], first["hash"]) << hash;
    other["hash"].erase(hash);
    EXPECT_TRUE(was_checked_again(record_beside(options_, other))) << hash << " is missing";
  }
}

TEST_F(CheckedResultsTest, OnlyAPassedCheckOfTheSameQuestionIsTakenOver) {
  const Json first = record_of(options_, 1);
  const auto is_taken = [&](const std::function<void(Json&)>& change) {
    Json other = first;
    change(other);
    return !was_checked_again(record_beside(options_, other));
  };
  EXPECT_TRUE(is_taken([](Json&) {}));
  for (const char* status : {"failed", "mistrusted", "off"})
    EXPECT_FALSE(is_taken([&](Json& json) { json["check"]["status"] = status; })) << status;
  EXPECT_FALSE(is_taken([](Json& json) { json["ablated"] = {"up"}; }));
  EXPECT_FALSE(is_taken([](Json& json) { json["config"]["bench_pass"] = "forward"; }));
  EXPECT_FALSE(is_taken([](Json& json) { json["config"]["tokens"] = 23; }));
  EXPECT_FALSE(is_taken([](Json& json) { json["config"] = nullptr; }));
  BenchOptions full = options_;
  full.check = CheckMode::full;
  EXPECT_TRUE(was_checked_again(record_beside(full, first))) << "a sample proves less";
  EXPECT_FALSE(was_checked_again(record_beside(options_, record_of(full, 1))));
}

// A record may be damaged or of somebody else. What it says goes to the terminal and into other records.
TEST_F(CheckedResultsTest, ARecordWithoutAProcessOrWithOtherTypesIsPassedOver) {
  const Json first = record_of(options_, 1);
  const auto is_taken = [&](const char* part, const char* name, const Json& value) {
    Json other = first;
    other[part][name] = value;
    const Json second = record_beside(options_, other);
    EXPECT_EQ(second["check"]["status"], "passed") << name;
    return !was_checked_again(second);
  };
  EXPECT_TRUE(is_taken("process", "id", "00000000000000ff"));
  for (const char* id : {"", "1", "0000000000000001\x1b[2J", "\x1b]0;x\x07 0123456789"})
    EXPECT_FALSE(is_taken("process", "id", id)) << id;
  EXPECT_FALSE(is_taken("process", "id", nullptr));
  EXPECT_FALSE(is_taken("check", "same_bits_as", "\x1b[2J"));
  EXPECT_FALSE(is_taken("check", "worst_bounds", "0.5")) << "the check would be off";
  EXPECT_FALSE(is_taken("check", "mode", "all"));
  Json hostile = first;
  hostile["check"]["how"] = "well\x1b[2J";
  EXPECT_EQ(record_beside(options_, hostile)["check"]["how"], "well?[2J");
}

TEST_F(CheckedResultsTest, AFileOfTooManyResultsIsRefused) {
  const std::string line =
      R"({"schema":"moehill/1","process":{"id":"0000000000000001"},"config":{},"check":{"status":"passed"},)"
      R"("hash":{"operands":"1","results":"2","other_results":"3"}})"
      "\n";
  std::string text;
  for (int i = 0; i < 10000; ++i) text += line;
  EXPECT_NO_THROW(CheckedResults(file_of(text)));
  EXPECT_THROW(CheckedResults(file_of(text + line)), InputError);
}

TEST_F(CheckedResultsTest, WithoutACheckThereAreNoHashesOfResults) {
  options_.check = CheckMode::off;
  const Json record = record_of(options_, 1);
  for (const char* hash : {"operands", "results", "other_results"})
    EXPECT_FALSE(record["hash"].contains(hash)) << hash;
}

TEST_F(CheckedResultsTest, AFileThatHasNoRecordsIsRefused) {
  for (const char* text : {"{", "[]\n", "{}\n", "{\"schema\":\"other/1\"}\n", "\n"})
    EXPECT_THROW(CheckedResults(file_of(text)), InputError) << text;
  EXPECT_THROW(CheckedResults(place_.file("none")), InputError);
  EXPECT_NO_THROW(CheckedResults(file_of("")));
}

}  // namespace
}  // namespace moehill
