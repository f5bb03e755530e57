// `moehill mesh` prints and records made-up measurements.
#include "moehill/collectives/mesh_report.h"

#include <gtest/gtest.h>

#include <sstream>

namespace moehill {
namespace {

// 4 devices that copy 64 GB/s; an all-reduce of 8 MB in 1 ms: algbw 8 GB/s, busbw 12 GB/s, 64 GB/s of memory.
MeshResult made_up() {
  MeshResult result;
  result.num_devices = 4;
  result.threads_per_device = 2;
  result.copy_bytes_per_s = 64e9;
  CollectiveResult reduce{Collective::all_reduce, DType::f32, 2'000'000, 4, {3e-3, 1e-3, 0.5e-3}, 0};
  result.collectives.push_back(reduce);
  reduce.samples = {2e-3};  // busbw 6
  result.collectives.push_back(reduce);
  result.collectives.push_back({Collective::all_gather, DType::bf16, 5, 4, {1e-6}, 0});
  return result;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> cells;
  for (std::string cell; stream >> cell;) cells.push_back(cell);
  return cells;
}

// Returns the table as its rows are printed one by one.
std::string table_of(const MeshResult& result) {
  const StreamedTable table = mesh_table({}, false);
  std::string text = table.header();
  for (const CollectiveResult& line : result.collectives)
    text += table.row(mesh_row(line, result.copy_bytes_per_s));
  return text;
}

TEST(MeshReport, TableHasTheFiguresOfEachSize) {
  const std::vector<std::string> lines = lines_of(table_of(made_up()));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(cells_of(lines[1]), (std::vector<std::string>{"all_reduce", "8000000", "2000000", "f32",
                                                          "1000.00", "8.00", "12.00", "100.00", "0"}));
  // 10 bytes in a microsecond: 0.01 GB/s, of it three quarters on the bus.
  EXPECT_EQ(cells_of(lines[3]),
            (std::vector<std::string>{"all_gather", "10", "5", "bf16", "1.00", "0.01", "0.01", "0.12", "0"}));
}

TEST(MeshReport, CostsOfTheLinesAddUpToThatOfAll) {
  MeshOptions options;
  options.collectives = {Collective::all_reduce, Collective::all_gather};
  double sum = 0;
  for (const Collective collective : options.collectives)
    for (const int64_t n : element_counts(options))
      sum += cost_of(CollectiveResult{collective, options.dtype, n});
  EXPECT_DOUBLE_EQ(sum, cost_of(options));
}

TEST(MeshReport, HeaderSaysMeshDevicesAndThreads) {
  MeshOptions options;
  options.mesh = MeshKind::threads;
  const std::string header = mesh_header(options, 4, 2);
  for (const char* part : {"mesh threads", "4 devices x 2 threads", "20 calls after 5"}) {
    EXPECT_NE(header.find(part), std::string::npos) << header;
  }
}

TEST(MeshReport, ClosingAveragesOverTheSizesOfACollective) {
  const std::string closing = mesh_closing(made_up());
  EXPECT_NE(closing.find("all_reduce: average busbw 9.00 GB/s, 0.14 of the copy bandwidth\n"),
            std::string::npos)
      << closing;
  EXPECT_NE(closing.find("streaming copy of the same threads: 64.00 GB/s"), std::string::npos);
  EXPECT_EQ(closing.find("FAILED"), std::string::npos);
}

TEST(MeshReport, AWrongElementTakesTheBandwidthsAndIsAFailure) {
  MeshResult result = made_up();
  EXPECT_EQ(num_failed(result), 0);
  result.collectives[1].num_wrong = 3;
  EXPECT_EQ(num_failed(result), 1);
  const std::vector<std::string> cells = cells_of(lines_of(table_of(result))[2]);
  EXPECT_EQ(std::vector<std::string>(cells.end() - 4, cells.end()),
            (std::vector<std::string>{"-", "-", "-", "3"}));
  const std::string closing = mesh_closing(result);
  EXPECT_NE(closing.find("all_reduce: average busbw - GB/s"), std::string::npos) << closing;
  EXPECT_NE(closing.find("FAILED: wrong elements in 1 of 3 lines"), std::string::npos) << closing;
}

TEST(MeshReport, WhatWasNotCheckedHasATimeAndNoBandwidth) {
  MeshResult result = made_up();
  result.collectives[0].num_wrong.reset();
  EXPECT_EQ(num_failed(result), 0);
  EXPECT_EQ(
      cells_of(lines_of(table_of(result))[1]),
      (std::vector<std::string>{"all_reduce", "8000000", "2000000", "f32", "1000.00", "-", "-", "-", "-"}));
  const nlohmann::json record =
      nlohmann::json::parse(lines_of(mesh_records({}, result, Environment{}, "now"))[0]);
  EXPECT_TRUE(record["num_wrong"].is_null());
  EXPECT_TRUE(record["busbw_gbps"].is_null());
  EXPECT_DOUBLE_EQ(record["time_s"]["median"], 1e-3);
}

TEST(MeshReport, RecordsAreOneALine) {
  const std::vector<std::string> lines = lines_of(mesh_records({}, made_up(), Environment{}, "now"));
  ASSERT_EQ(lines.size(), 3u);
  const nlohmann::json record = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(record["schema"], "moehill/1");
  EXPECT_EQ(record["command"], "mesh");
  EXPECT_EQ(record["config"]["collective"], "all_reduce");
  EXPECT_EQ(record["layout"]["devices"], 4);
  EXPECT_EQ(record["layout"]["threads_per_device"], 2);
  EXPECT_EQ(record["size_bytes"], 8'000'000);
  EXPECT_EQ(record["count"], 2'000'000);
  EXPECT_EQ(record["time_s"]["samples"].size(), 3u);
  EXPECT_DOUBLE_EQ(record["time_s"]["median"], 1e-3);
  EXPECT_DOUBLE_EQ(record["algbw_gbps"], 8);
  EXPECT_DOUBLE_EQ(record["busbw_gbps"], 12);
  EXPECT_DOUBLE_EQ(record["copy_fraction"], 1);
  EXPECT_DOUBLE_EQ(record["peak"]["copy_gbps"], 64);
  EXPECT_EQ(record["num_wrong"], 0);
  EXPECT_EQ(nlohmann::json::parse(lines[2])["seq"], 2);
}

}  // namespace
}  // namespace moehill
