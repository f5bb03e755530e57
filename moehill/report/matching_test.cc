#include "moehill/report/matching.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

class MatchingTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  // Records of both modes at top-k 2 and 8 with eight samples; seconds of none and ep.
  std::string write(const std::string& name, double none, double ep, const std::string& backend) {
    std::ofstream file(folder_.file(name));
    for (const int64_t topk : {2, 8}) {
      for (const std::string mode : {"none", "ep"}) {
        StoredJson record = block_record(mode, topk, mode == "ep" ? ep : none);
        record["config"]["backend"] = backend;
        const double median = record["time_s"]["median"];
        for (int i = 1; i < 8; ++i) record["time_s"]["samples"].push_back(median * (1 + 0.001 * (i % 3 - 1)));
        file << json_text(record) << "\n";
      }
    }
    return folder_.file(name);
  }
};

TEST_F(MatchingTest, FilesMatchByOptionsButForWhatTellsThemApart) {
  const ResultSet a = read_results(write("a", 1.0, 1.0, "gmm"));
  const ResultSet b = read_results(write("b", 1.0, 1.2, "ragged_dot"));
  const Matching matching = match_results(a, b);
  EXPECT_EQ(matching.differing, std::vector<std::string>{"backend"});
  ASSERT_EQ(matching.pairs.size(), 4u);
  EXPECT_FALSE(matching.pairs[0].speed.paired);
  EXPECT_EQ(matching.pairs[0].verdict, "within noise");
  EXPECT_EQ(matching.pairs[1].verdict, "slower");
  EXPECT_EQ(regressions(matching, 0.03).size(), 2u);
  EXPECT_TRUE(regressions(matching, 0.3).empty());
}

TEST_F(MatchingTest, WhatTheNewSetLacksIsARegression) {
  const ResultSet a = read_results(write("a", 1.0, 1.0, "gmm"));
  ResultSet b = a;
  b.results[0].series = {};
  b.results.pop_back();
  EXPECT_EQ(regressions(match_results(a, b), 0.5).size(), 2u);
}

TEST_F(MatchingTest, PointsOfOneExperimentArePaired) {
  const std::string path = folder_.file("a.sqlite");
  Store store = Store::open_or_create(path);
  fill_replayed(store, replayed_experiment());
  const ResultSet a = read_results(path + ":ep_vs_none/parallel_mode=none topk=2");
  const ResultSet b = read_results(path + ":ep_vs_none/parallel_mode=ep topk=2");
  const Matching matching = match_results(a, b);
  ASSERT_EQ(matching.pairs.size(), 1u);
  EXPECT_TRUE(matching.pairs[0].speed.paired);
  EXPECT_EQ(matching.pairs[0].speed.ratio.n, 8);
  EXPECT_EQ(matching.pairs[0].verdict, "slower");
  EXPECT_EQ(match_results(a, a).pairs[0].verdict, "identical configuration");
  EXPECT_THROW(read_results(path + ":nothing"), InputError);
  EXPECT_THROW(read_results(folder_.file("none.jsonl")), InputError);
  try {
    read_results(std::filesystem::path(path).parent_path().string());
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("(not a file)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace moehill
