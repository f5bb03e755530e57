// Tests of the table of tuned blocks: it survives kills and other tuners, names what is wrong with a file,
// and never offers an entry that was found with other kernels.
#include "moehill/tune/tuned_table.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/predict/prediction.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

class TunedFile : public testing::Test {
 protected:
  std::string file() const { return folder_.file("sub/cpu.json"); }

  const TemporaryFolder folder_;
};

Environment environment() {
  Environment e;
  e.topology.cpu_model = "A CPU";
  e.kernels_id = "k1";
  e.kernel = "AVX2";
  return e;
}

TunedEntry entry(int64_t bt) {
  TunedEntry e;
  e.blocks.bt = e.blocks.btc = bt;
  e.gain = {1.25, 7, Interval{1.1, 1.3, 0.95}};
  e.cpu = "A CPU";
  e.kernels = "k1";
  e.simd = "AVX2";
  e.time_utc = "2026-02-09T13:40:00Z";
  return e;
}

std::string key_of(const RunConfig& config, DistributionOptions distribution = {}) {
  return tuned_key(config, routing_of(config.shape, distribution, 0));
}

RunConfig config() {
  RunConfig c;
  c.shape = {256, 64, 32, 8, 2, 0, DType::bf16};
  c.threads_per_device = 2;
  return c;
}

TEST(TunedKey, EveryPartOfTheProblemIsInIt) {
  const RunConfig base = config();
  std::vector<RunConfig> others(23, base);
  others[0].shape.hidden = 128;
  others[1].shape.mlp_dim = 48;
  others[2].shape.experts = 16;
  others[3].shape.topk = 3;
  others[4].shape.shared_dim = 8;
  others[5].shape.dtype = DType::f32;
  others[6].shape.tokens = 1024;
  others[7].threads_per_device = 1;
  others[8].block.pass = base.block.pass == Pass::forward ? Pass::forward_backward : Pass::forward;
  others[9].block.impl = base.block.impl == Impl::baseline ? Impl::fused_w13 : Impl::baseline;
  others[10].spread = Spread::dp;
  others[10].num_devices = 2;
  others[11].spread = Spread::compact_psum;
  others[11].num_devices = 2;
  others[12] = others[11];
  others[12].spread = Spread::fused;
  for (size_t i = 13; i < 19; ++i) {
    others[i].block.capacity.policy = CapacityPolicy::drop;
    others[i].block.capacity.factor = 1.25;
  }
  others[14].block.capacity.order = CapacityOrder::gate;
  others[15].block.capacity.pool = 2;
  others[16].block.capacity.sources = 2;
  others[17].block.capacity.spares = 1;
  others[18].block.capacity.factor = 2.5;
  others[19].shape.form = parse_expert_form("relu2,ungated");
  others[20].shape.form = parse_expert_form("swiglu-oai,limit:7,biases");
  others[21].shape.router.input_weighted = true;
  others[22] = others[12];
  others[22].placement = {0, 1, 2, 3, 0, 4, 5, 6, 7, 1};
  std::set<std::string> keys = {key_of(base)};
  for (size_t i = 0; i < others.size(); ++i) EXPECT_TRUE(keys.insert(key_of(others[i])).second) << i;
}

TEST(TunedKey, ALittleMoreOfTheSameIsTheSame) {
  RunConfig more = config();
  more.shape.tokens = 270;
  EXPECT_EQ(key_of(config()), key_of(more));
}

TEST(TunedKey, AHotExpertIsAnotherProblem) {
  RunConfig c = config();
  c.shape.experts = 16;
  DistributionOptions hot;
  hot.kind = Distribution::hot_experts;
  hot.num_hot = 1;
  hot.hot_share = 0.45;
  EXPECT_NE(key_of(c), key_of(c, hot));
}

TEST_F(TunedFile, ComesBackAsItWasKept) {
  keep_tuned(file(), "a", entry(64));
  keep_tuned(file(), "b", entry(96));
  keep_tuned(file(), "a", entry(128));
  const TunedTable table = read_tuned(file());
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table.at("a").blocks, entry(128).blocks);
  EXPECT_EQ(table.at("b").gain.interval->lo, 1.1);
  EXPECT_EQ(table.at("b").gain.interval->coverage, 0.95);
  EXPECT_EQ(table.at("b").gain.n, 7);
}

TEST_F(TunedFile, AFolderIsRefused) { EXPECT_THROW(read_tuned(folder_.path()), InputError); }

TEST_F(TunedFile, NoFileIsAnEmptyTable) { EXPECT_TRUE(read_tuned(file()).empty()); }

TEST_F(TunedFile, WhatIsNoTableIsRefusedWithItsName) {
  fs::create_directories(fs::path(file()).parent_path());
  for (const char* text :
       {"", "{", "{\"schema\": \"moehill/tuned-9\", \"entries\": {}}",
        "{\"schema\": \"moehill/tuned-1\", \"entries\": {\"a\": {\"blocks\": 5}}}",
        "{\"schema\": \"moehill/tuned-1\", \"entries\": {\"a\": {\"blocks\": \"bt=0\"}}}",
        R"({"schema": "moehill/tuned-1", "entries": {"a": {"blocks": "bt=64,btc=64", "gain": 1.1,
            "rounds": 1e300, "gain_lo": 1, "gain_hi": 2, "cpu": "c", "kernels": "k", "time_utc": "t"}}})",
        R"({"schema": "moehill/tuned-1", "entries": {"a": {"blocks": "bt=64,btc=64", "gain": 1.1,
            "rounds": 9223372036854775808, "gain_lo": 1, "gain_hi": 2, "cpu": "c", "kernels": "k",
            "time_utc": "t"}}})"}) {
    std::ofstream(file()) << text;
    try {
      read_tuned(file());
      FAIL() << text;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(file()), std::string::npos) << error.what();
    }
    EXPECT_THROW(keep_tuned(file(), "a", entry(64)), InputError);
  }
}

// The point without --blocks takes the blocks of the table, and the other point of its command keeps its own.
TEST_F(TunedFile, AppliesToThePointsThatNameNoBlocks) {
  keep_tuned(file(), key_of(config()), entry(64));
  BenchOptions options;
  options.variants.resize(2);
  options.variants[0].axes.emplace_back("blocks", "bt=96");
  options.variants[0].blocks_given = true;
  std::vector<Point> points(2);
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].config = config();
    points[i].axes = options.variants[i].axes;
  }
  points[0].config.block.blocks.bt = 96;
  for (const bool of_command : {false, true}) {
    options.table = TableChoice::file;
    options.table_file = file();
    options.blocks_given = of_command;
    std::vector<Point> some = points;
    EXPECT_NE(apply_tuned(options, environment(), some), "");
    EXPECT_EQ(some[0].config.block.blocks.bt, 96);
    EXPECT_EQ(some[0].tuned, Tuned::off);
    EXPECT_EQ(some[1].config.block.blocks, entry(64).blocks);
    EXPECT_EQ(some[1].tuned, Tuned::hit);
  }
}

TEST(TunedLookup, HitStaleAndMiss) {
  const TunedTable table = {{"a", entry(64)}};
  EXPECT_EQ(look_up(table, "a", environment()).status, Tuned::hit);
  EXPECT_EQ(look_up(table, "a", environment()).blocks, entry(64).blocks);
  EXPECT_EQ(look_up(table, "b", environment()).status, Tuned::miss);
  Environment other = environment();
  other.kernels_id = "k2";
  EXPECT_EQ(look_up(table, "a", other).status, Tuned::stale);
  EXPECT_EQ(look_up(table, "a", other).blocks, BlockSizes{});
  other = environment();
  other.topology.cpu_model = "Another";
  EXPECT_EQ(look_up(table, "a", other).status, Tuned::stale);
}

TEST_F(TunedFile, AnotherSimdTargetIsStaleInBothDirections) {
  TunedEntry of_wide = entry(96);
  of_wide.simd = "AVX512_BF16";
  keep_tuned(file(), "narrow", entry(64));
  keep_tuned(file(), "wide", of_wide);
  const TunedTable table = read_tuned(file());
  Environment wide = environment();
  wide.kernel = "AVX512_BF16";
  EXPECT_EQ(look_up(table, "narrow", wide).status, Tuned::stale);
  EXPECT_EQ(look_up(table, "narrow", wide).blocks, BlockSizes{});
  EXPECT_EQ(look_up(table, "narrow", wide).why, "found with AVX2, this program uses AVX512_BF16");
  EXPECT_EQ(look_up(table, "narrow", environment()).status, Tuned::hit);
  EXPECT_EQ(look_up(table, "wide", environment()).status, Tuned::stale);
  EXPECT_EQ(look_up(table, "wide", wide).status, Tuned::hit);
}

// Nobody knows what it was found with.
TEST_F(TunedFile, AnEntryOfAnOlderProgramWithoutSimdTargetIsStale) {
  fs::create_directories(fs::path(file()).parent_path());
  std::ofstream(file())
      << R"({"schema": "moehill/tuned-1", "entries": {"a": {"blocks": "bt=64,btc=64", "gain": 1.1,
            "rounds": 7, "gain_lo": 1, "gain_hi": 2, "cpu": "A CPU", "kernels": "k1", "time_utc": "t"}}})";
  const TunedLookup found = look_up(read_tuned(file()), "a", environment());
  EXPECT_EQ(found.status, Tuned::stale);
  EXPECT_NE(found.why.find("older program"), std::string::npos) << found.why;
}

// The program has no sizes of its own for any CPU, since they would be of another build's kernels.
TEST_F(TunedFile, WithoutATableEveryProblemIsAMiss) {
  setenv("MOEHILL_TUNED", file().c_str(), 1);
  Environment of_server = environment();
  of_server.topology.cpu_model = "AMD EPYC";
  std::vector<Point> points(1);
  points[0].config.shape = {64, 2048, 1408, 60, 8, 5632, DType::bf16};
  points[0].config.block.pass = Pass::forward;
  points[0].config.threads_per_device = 2;
  const std::string text = apply_tuned(BenchOptions(), of_server, points);
  unsetenv("MOEHILL_TUNED");
  EXPECT_NE(text.find("nobody tuned them"), std::string::npos) << text;
  EXPECT_EQ(points[0].tuned, Tuned::miss);
}

// Child processes keep entries of their own until they are killed or done.
pid_t keeper(const std::string& file, const std::string& name, int count) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (int i = 0; i < count; ++i) keep_tuned(file, name + std::to_string(i), entry(64 + i));
  _exit(0);
}

TEST_F(TunedFile, TwoTunersLoseNothing) {
  const pid_t a = keeper(file(), "a", 20), b = keeper(file(), "b", 20);
  for (const pid_t child : {a, b}) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(read_tuned(file()).size(), 40u);
}

TEST_F(TunedFile, AKillLeavesATable) {
  keep_tuned(file(), "first", entry(64));
  for (int i = 0; i < 20; ++i) {
    const pid_t child = keeper(file(), "round" + std::to_string(i) + "-", 100000);
    usleep(static_cast<useconds_t>(3000 + 1700 * i));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    TunedTable table;
    ASSERT_NO_THROW(table = read_tuned(file())) << i;
    EXPECT_EQ(table.count("first"), 1u);
  }
  keep_tuned(file(), "last", entry(64));
  EXPECT_EQ(read_tuned(file()).count("last"), 1u);
}

}  // namespace
}  // namespace moehill
