// Tests of replayed tables: rows counted as the publishers count them, parameters that fit the rows which
// they are said to fit, and the page that shows the result.
#include "moehill/predict/replay_prediction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/predict/replay_report.h"

namespace moehill {
namespace {

const ReplayedTable& table_named(const Replay& replay, const std::string& name) {
  for (const ReplayedTable& table : replay.tables) {
    if (table.table->name == name) return table;
  }
  ADD_FAILURE() << name;
  return replay.tables.front();
}

ReplayTable small_table(RowCopies copies) {
  ReplayTable table;
  table.name = "small";
  table.copies = copies;
  table.hidden = 64;
  table.mlp_dim = 32;
  table.topk = 2;
  return table;
}

// 16 devices are on three nodes in both cases, and device 6 is not on the same of them.
TEST(ReplayRoutings, NodesOfAnotherSizeHaveCountsOfTheirOwn) {
  const ReplayTable table = small_table(RowCopies::node);
  ReplayRow row;
  row.devices = row.experts = 16;
  row.tokens = 8;
  Hardware hardware = load_hardware("h800-node");
  ReplayRoutings routings;
  for (const auto& [per_node, node] : {std::pair{6, 1}, std::pair{7, 0}}) {
    hardware.topology.devices_per_node = per_node;
    EXPECT_EQ(routings.of(table, row, hardware).counts.nodes.num(), 3);
    EXPECT_EQ(routings.of(table, row, hardware).counts.nodes.of(6), node);
  }
}

// Returns two nodes of two devices, with 100 B/s inside a node and 10 B/s for each device between nodes.
Hardware small_hardware() {
  Hardware h = load_hardware("h800-node");
  h.topology.devices_per_node = 2;
  h.topology.levels[0].bytes_per_s = 100;
  h.topology.levels[1].bytes_per_s = 20;
  return h;
}

// Each device has one expert. On device 0, token 0 goes to devices 2 and 3 and the second token stays. The
// tokens of device 1 go to devices 0 and 2. The tokens of devices 2 and 3 go to their own expert and to the
// expert of the other of these two devices.
ReplayCounts small_counts() {
  Routing routing{8, 4, 2, {2, 3, 0, 1, 0, 2, 0, 2, 2, 3, 2, 3, 3, 2, 3, 2}, std::vector<float>(16, 0.5F)};
  static const PlanCounts counts = count_plan(routing, {}, 4, Nodes::of_size(4, 2));
  return {counts, 1};
}

ReplayRow small_row() {
  ReplayRow row;
  row.devices = 4;
  row.tokens = 2;
  row.experts = 4;
  row.row_bytes = 10;
  row.gb_per_s = 1;
  return row;
}

TEST(ReplayPrediction, RowsOfALevelAreThoseThatCrossIt) {
  const Hardware h = small_hardware();
  const ReplayCounts counts = small_counts();
  // Between nodes, each token travels once for each node: one token of device 0, two of device 1. Inside the
  // nodes travel device 0's second token to 1, device 1's two tokens to 0, and four rows between 2 and 3. Of
  // the rows that arrive from the other node, device 0's continues from 2 to 3 and device 1's from 3 to 2.
  const ReplayedRow node = replay_row(small_table(RowCopies::node), small_row(), h, counts);
  EXPECT_DOUBLE_EQ(node.bytes.network, 10 * 3 / 4.0);
  EXPECT_DOUBLE_EQ(node.bytes.node, 10 * (1 + 2 + 4 + 1 + 2) / 4.0);
  EXPECT_DOUBLE_EQ(node.bytes.logical, 10 * 10 / 4.0);  // once a node, their own among them
  // Device 1 sends two rows at 10 B/s; device 3 forwards two rows at 100 B/s besides its own two.
  EXPECT_DOUBLE_EQ(node.time_s, 2);
  EXPECT_DOUBLE_EQ(node.seconds[static_cast<size_t>(Level::node)], 0.4);
  const ReplayedRow rank = replay_row(small_table(RowCopies::rank), small_row(), h, counts);
  EXPECT_DOUBLE_EQ(rank.bytes.network, 10 * 4 / 4.0);
  EXPECT_DOUBLE_EQ(rank.bytes.node, 10 * (1 + 2 + 4) / 4.0);
  EXPECT_DOUBLE_EQ(rank.bytes.logical, 10 * 16 / 4.0);
  EXPECT_DOUBLE_EQ(rank.time_s, 3);  // device 2 receives three
}

TEST(ReplayPrediction, PartsAndLevelsMakeTheTime) {
  Hardware h = small_hardware();
  ReplayTable table = small_table(RowCopies::node);
  ReplayRow row = small_row();
  table.start_us = 1e6;
  EXPECT_DOUBLE_EQ(replay_row(table, row, h, small_counts()).time_s, 3);
  table.rank_gb_per_s = 2e-9;  // device 1 has two rows for each node
  EXPECT_DOUBLE_EQ(replay_row(table, row, h, small_counts()).time_s, 1 + 40 / 2.0);
  row.part = ReplayPart::overlapped;
  table.weight_bytes = 1;
  h.memory_bytes_per_s = 3 * 64 * 32 / 20.0;
  const ReplayedRow overlapped = replay_row(table, row, h, small_counts());
  EXPECT_NEAR(overlapped.time_s, 21, 0.5);  // and a few bytes of rows
  EXPECT_EQ(binding_level(overlapped.seconds), Level::memory);
  row.part = ReplayPart::in_turn;
  EXPECT_NEAR(replay_row(table, row, h, small_counts()).time_s, 41, 0.5);
}

// A token has 8 (1 - C(224, 8) / C(256, 8)) distinct ranks in one node. The distinct nodes come from a Monte
// Carlo simulation outside this program. The four nodes of eight are those with the largest scores, and each
// of these is a choice, so nearly always all four are used.
void expect_ranks_and_nodes_counted_elsewhere(const Replay& replay) {
  const ReplayedTable& table = table_named(replay, "deepep-normal");
  const double expected[] = {5.295, 5.295, 1.99, 1.99, 3.61, 3.61, 3.98, 3.98};
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const ReplayRow& row = table.table->rows[i];
    EXPECT_NEAR(table.rows[i].bytes.logical / (4096 * row.row_bytes), expected[i], 0.01) << row.name;
  }
}

// If a publisher gives bandwidth and time, their product tests the formula for bytes without any model. The
// low-latency tests leave out 10 of 1024 choices, and one published row contradicts itself.
void expect_logical_bytes_to_be_bandwidth_times_time(const Replay& replay) {
  int num_rows = 0;
  for (const ReplayedTable& table : replay.tables) {
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const ReplayRow& row = table.table->rows[i];
      if (row.gb_per_s == 0 || row.us == 0) continue;
      if (table.table->name == "uccl-low-latency" && row.name == "EP32 dispatch") continue;
      ++num_rows;
      const double rounding = 0.5 / row.gb_per_s + 0.5 / row.us;
      EXPECT_NEAR(table.rows[i].bytes.logical / (1e3 * row.us * row.gb_per_s), 1, 0.02 + rounding)
          << table.table->name << ", " << row.name;
    }
  }
  EXPECT_GE(num_rows, 30);
}

void expect_parameters_to_be_what_their_rows_make_of_them(const Replay& replay) {
  int num_parameters = 0;
  for (const ReplayedTable& table : replay.tables) {
    for (const FittedParameter& p : table.parameters) {
      ++num_parameters;
      EXPECT_NEAR(p.fitted / p.used, 1, 0.01) << table.table->name << ", " << p.row->name;
    }
  }
  EXPECT_GE(num_parameters, 10);
}

void expect_rows_held_out_within_a_tenth(const Replay& replay) {
  const HeldOut held = held_out(replay);
  EXPECT_GE(held.rows, 50);
  EXPECT_LE(held.median, 0.1);
  const HeldOut deepep = held_out({&table_named(replay, "deepep-normal")});
  EXPECT_EQ(deepep.rows, 6);
  EXPECT_LE(deepep.median, 0.06);
}

void expect_the_page_to_show(const Replay& replay) {
  std::ifstream file(MOEHILL_SOURCE_DIR "/docs/published.md");
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_NE(page.find("```\n" + replay_report(replay) + "```\n"), std::string::npos)
      << "put this into docs/published.md:\n"
      << replay_report(replay);
}

// All of this is in one test, because each test is a process and the replay takes seconds.
TEST(ReplayReport, WholeFile) {
  const Replay replay = replay_published();
  expect_ranks_and_nodes_counted_elsewhere(replay);
  expect_logical_bytes_to_be_bandwidth_times_time(replay);
  expect_parameters_to_be_what_their_rows_make_of_them(replay);
  expect_rows_held_out_within_a_tenth(replay);
  expect_the_page_to_show(replay);
}

TEST(ReplayReport, SaysWhichTableBegins) {
  std::vector<std::string> begun;
  replay_published("deepgemm-v4-flash", [&](const std::string& name) { begun.push_back(name); });
  EXPECT_EQ(begun, std::vector<std::string>{"deepgemm-v4-flash"});
}

TEST(ReplayTables, MistakesAreNamed) {
  const std::string rows = "rows = [{ name = \"a\", row_bytes = 1, us = 1 }]";
  const std::string good =
      "[[tables]]\nname = \"t\"\nhardware = \"h800-node\"\ntokens = 8\nhidden = 8\nmlp_dim = 8\nexperts = 4\n"
      "topk = 2\n";
  EXPECT_EQ(parse_replay_tables(good + rows, "f").tables.at(0).rows.at(0).tokens, 8);
  const auto error = [](const std::string& text) -> std::string {
    try {
      parse_replay_tables(text, "f");
    } catch (const InputError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(error(good).find("rows"), std::string::npos);
  EXPECT_NE(error(good + "copys = \"rank\"\n" + rows).find("copies"), std::string::npos);
  EXPECT_NE(error(good + "copies = \"ranks\"\n" + rows).find("node, rank, expert"), std::string::npos);
  EXPECT_NE(error(good + "rows = [{ name = \"a\", us = 1 }]").find("row_bytes"), std::string::npos);
  EXPECT_NE(error(good + "rows = [{ name = \"a\", row_bytes = 1, us = 1, fits = \"b\" }]").find("start"),
            std::string::npos);
  EXPECT_THROW(replay_published("no-such-table"), InputError);
}

}  // namespace
}  // namespace moehill
