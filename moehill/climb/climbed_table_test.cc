// Tests of the table of winners: an entry is kept beside others and is only used for the problem, the machine
// and the kernels with which it was found. Less thorough climbs do not replace it.
#include "moehill/climb/climbed_table.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

class ClimbedTableTest : public testing::Test {
 protected:
  ClimbedTableTest() {
    environment_.topology.cpu_model = "cpu";
    environment_.topology.num_cores = 8;
    environment_.kernel = "AVX2";
    environment_.kernels_id = "k1";
  }
  // Returns what a climb of `budget_s` has found here.
  ClimbedEntry entry(const StoredJson& options, double gain = 1.2, double budget_s = 60,
                     double worth = 0.02) const {
    ClimbedEntry e;
    e.options = options;
    e.gain = gain;
    e.budget_s = budget_s;
    e.worth = worth;
    e.place = climbed_place(environment_);
    e.time_utc = "2026-01-01T00:00:00Z";
    return e;
  }
  // Returns the refusal of the entry of tokens=1; empty if there is none.
  std::string refusal() const {
    try {
      require_climbed(path_, "tokens=1", environment_);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

  const TemporaryFolder place_;
  const std::string path_ = place_.file("folder/climbed.json");
  const StoredJson fast_ = {{"impl", "fast"}}, scatter_ = {{"impl", "scatter"}};
  Environment environment_;
};

TEST_F(ClimbedTableTest, KeepsWinnersByProblem) {
  keep_climbed(path_, "tokens=1", entry(fast_));
  keep_climbed(path_, "tokens=2", entry({{"shared_fused", true}}, 1.1));
  EXPECT_EQ(read_climbed(path_).size(), 2u);
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, fast_);
  EXPECT_EQ(require_climbed(path_, "tokens=2", environment_).gain, 1.1);
}

TEST_F(ClimbedTableTest, OtherProblemsOtherKernelsAndOtherFilesAreRefused) {
  EXPECT_THROW(require_climbed(path_, "tokens=1", environment_), InputError);
  keep_climbed(path_, "tokens=1", entry(fast_));
  EXPECT_THROW(require_climbed(path_, "tokens=3", environment_), InputError);
  environment_.kernels_id = "k2";
  EXPECT_THROW(require_climbed(path_, "tokens=1", environment_), InputError);
  const std::string other = place_.file("other.json");
  std::ofstream(other) << "{\"schema\": \"something else\"}";
  EXPECT_THROW(read_climbed(other), InputError);
}

TEST_F(ClimbedTableTest, CoresThatAreNoIntegerAreRefused) {
  std::filesystem::create_directories(place_.file("folder"));
  for (const char* cores : {"1e300", "2.5", "4294967304", "9223372036854775808", "\"8\""}) {
    std::ofstream(path_) << R"({"schema": "moehill/climbed-1", "entries": {"tokens=1": {"options": {},
      "gain": 1.5, "cpu": "cpu", "cores": )"
                         << cores << R"(, "kernels": "k1", "time_utc": "2026-01-01T00:00:00Z"}}})";
    EXPECT_THROW(read_climbed(path_), InputError) << cores;
  }
}

TEST_F(ClimbedTableTest, OtherCoresAndOtherSimdTargetsAreRefused) {
  keep_climbed(path_, "tokens=1", entry(fast_));
  EXPECT_EQ(refusal(), "");
  environment_.topology.num_cores = 2;
  for (const char* part : {"8 cores", "2 cores", "climb again"})
    EXPECT_NE(refusal().find(part), std::string::npos) << refusal();
  environment_.topology.num_cores = 8;
  environment_.kernel = "SSE4";
  for (const char* part : {"AVX2", "SSE4", "climb again"})
    EXPECT_NE(refusal().find(part), std::string::npos) << refusal();
}

TEST_F(ClimbedTableTest, AnEntryThatDoesNotNameTheCoresIsRefusedAndReplaced) {
  std::filesystem::create_directories(place_.file("folder"));
  std::ofstream(path_) << R"({"schema": "moehill/climbed-1", "entries": {"tokens=1": {"options": {},
    "gain": 1.5, "cpu": "cpu", "kernels": "k1", "time_utc": "2026-01-01T00:00:00Z"}}})";
  for (const char* part : {"older program", "climb again"})
    EXPECT_NE(refusal().find(part), std::string::npos) << refusal();
  EXPECT_EQ(keep_climbed(path_, "tokens=1", entry(fast_, 1.2, 1)), "");
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, fast_);
}

TEST_F(ClimbedTableTest, AClimbWithLessBudgetOrALargerWorthReplacesNothing) {
  EXPECT_EQ(keep_climbed(path_, "tokens=1", entry(fast_, 1.2, 7200)), "");
  const std::string why = keep_climbed(path_, "tokens=1", entry(scatter_, 1.3, 60));
  EXPECT_NE(why.find("2h00m"), std::string::npos) << why;
  EXPECT_NE(keep_climbed(path_, "tokens=1", entry(scatter_, 1.3, 7200, 0.5)), "");
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, fast_);
  EXPECT_EQ(keep_climbed(path_, "tokens=1", entry(scatter_, 1.1, 7200)), "");
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, scatter_);
  environment_.topology.num_cores = 2;  // what is there holds for another machine
  EXPECT_EQ(keep_climbed(path_, "tokens=1", entry(fast_, 1.2, 1)), "");
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, fast_);
}

TEST(Climbed, WhatDecidedNoMoveOrHadALimitIsNotKept) {
  ClimbOutcome outcome;
  ClimbOptions options;
  EXPECT_NE(why_not_to_keep(outcome, options), "") << "there was no move";
  const auto add_move = [&](int rounds) {
    ClimbMove move;
    move.arms.resize(2);
    move.result.race = Race(2, {});
    for (int i = 0; i < rounds; ++i) move.result.race.add_round({1.0, 2.0});
    move.result.race.end();
    outcome.moves.push_back(move);
  };
  add_move(1);
  EXPECT_NE(why_not_to_keep(outcome, options), "") << "the budget ended it before two rounds";
  add_move(2);
  ASSERT_EQ(outcome.moves[1].result.race.fate(1), ArmFate::behind);
  EXPECT_EQ(why_not_to_keep(outcome, options), "");
  options.memory_bytes = 1e9;
  EXPECT_NE(why_not_to_keep(outcome, options), "");
}

TEST(Climbed, WhatWasGivenIsNotAmongTheOptionsFound) {
  ClimbOutcome outcome;
  outcome.winner.options = {{"tokens", "64"}, {"impl", "fast"}, {"devices", "2"}, {"backend", "gmm"}};
  ClimbOptions options;
  options.base = {{"tokens", "64"}, {"devices", "2"}};
  const ClimbedEntry entry = climbed_entry(outcome, options, {});
  EXPECT_EQ(entry.options, StoredJson({{"impl", "fast"}, {"backend", "gmm"}}));
  EXPECT_EQ(entry.gain, 1);
  EXPECT_EQ(entry.budget_s, options.budget_s);
}

// No run of a climb uses a table of tuned blocks, but bench does.
TEST(Climbed, TheBlocksAreKeptUnlessTheyWereGiven) {
  const StoredJson fast = {{"impl", "fast"}}, with_blocks = {{"impl", "fast"}, {"blocks", "bt=8,bf=16"}};
  ClimbOutcome outcome;
  outcome.winner.options = fast;
  outcome.winner.resolved.options = with_blocks;
  EXPECT_EQ(climbed_entry(outcome, {}, {}).options, with_blocks);
  outcome.winner.options["blocks"] = "bt=8";
  ClimbOptions given;
  given.base = {{"blocks", "bt=8"}};
  EXPECT_EQ(climbed_entry(outcome, given, {}).options, fast);
}

TEST(Climbed, WithoutALastComparisonTheGainIsThatOfTheMoves) {
  ClimbOutcome outcome;
  outcome.winner.options = {{"impl", "fast"}};
  outcome.moves.resize(2);
  outcome.moves[0].gain = 1.5;
  EXPECT_EQ(climbed_entry(outcome, {}, {}).gain, 1.5);
  outcome.total = Ratio{1.25, 5, {}};
  EXPECT_EQ(climbed_entry(outcome, {}, {}).gain, 1.25);
}

}  // namespace
}  // namespace moehill
