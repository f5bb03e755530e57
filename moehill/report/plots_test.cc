// Tests of pictures: what they show of a database and of records, and that no text or figure can break the
// drawing.
#include "moehill/report/plots.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/report/matching.h"
#include "moehill/report/picture.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// Returns where the elements of a class stand, in the order of the drawing.
std::vector<double> places(const std::string& svg, const std::string& classes) {
  std::vector<double> found;
  const std::string end = "\" class=\"" + classes + "\">";
  for (size_t at = svg.find(end); at != std::string::npos; at = svg.find(end, at + 1)) {
    const size_t x = svg.rfind("x=\"", at) + 3;
    found.push_back(std::stod(svg.substr(x)));
  }
  return found;
}

constexpr const char* kToRight = "M-4 -4L2 0L-4 4Z";
constexpr const char* kToLeft = "M4 -4L-2 0L4 4Z";

RatioMark mark(double ratio, double lo, double hi) {
  return {"a", "", ratio, Interval{lo, hi, 0.95}, {}, ""};
}

TEST(RatioPicture, WideIntervalsAreClippedWithAMarkAndDoNotFlattenTheOthers) {
  const std::string narrow = ratio_picture("t", {{"g", "", {mark(1.1, 1.05, 1.15)}}}, {});
  EXPECT_EQ(count(narrow, kToLeft) + count(narrow, kToRight), 0u) << narrow;
  const std::string wide = ratio_picture("t", {{"g", "", {mark(1.1, 1.05, 1.15), mark(1, 0.001, 1000)}}}, {});
  EXPECT_EQ(count(wide, kToLeft), 1u);
  EXPECT_EQ(count(wide, kToRight), 1u);
  EXPECT_EQ(places(wide, "middle soft"), places(narrow, "middle soft"));  // the same axis
  const std::string far = ratio_picture("t", {{"g", "", {mark(25, 24, 26)}}}, {});
  EXPECT_GE(count(far, kToRight), 1u) << "a ratio beyond the axis ends in an arrow";
}

TEST(RatioPicture, TicksDoNotTouchAndOneIsAmongThem) {
  for (const double ratio : {0.3, 0.9, 1.1, 1.9, 3.9}) {
    const std::string svg = ratio_picture("t", {{"g", "", {mark(ratio, ratio, ratio)}}}, {});
    std::vector<double> ticks = places(svg, "middle soft");
    std::sort(ticks.begin(), ticks.end());
    for (size_t i = 1; i < ticks.size(); ++i) EXPECT_GE(ticks[i] - ticks[i - 1], 20) << svg;
    EXPECT_GE(ticks.size(), 3u) << ratio;
    EXPECT_SAYS(svg, ">1</text>");
  }
}

TEST(Picture, TextFromFilesStaysText) {
  const std::string bad = std::string(kHostileTitle) + "\x1b\xff&";
  const RatioMark hostile{bad, bad, 1, {}, {}, bad};
  for (const std::string& svg : {ratio_picture(bad, {{bad, bad, {hostile}}}, {bad}),
                                 curve_picture(bad, bad, {{bad, {{bad, {{1, 50, {}}}}}}})}) {
    EXPECT_EQ(svg.find("<img"), std::string::npos);
    EXPECT_EQ(svg.find('\x1b'), std::string::npos);
    EXPECT_EQ(svg.find('\xff'), std::string::npos);
    EXPECT_SAYS(svg, "&lt;/script&gt;&lt;img");
    EXPECT_EQ(count(svg, "<text"), count(svg, "</text>"));
  }
}

TEST(CurvePicture, StartsAtZeroAndClipsWhatIsAbove) {
  const std::string svg =
      curve_picture("t", "top-k", {{"p", {{"a", {{1, 20, Interval{10, 90, 0.95}}, {8, 38, {}}}}}}});
  EXPECT_SAYS(svg, ">0 %</text>");
  EXPECT_SAYS(svg, ">40 %</text>");
  EXPECT_EQ(svg.find(">50 %</text>"), std::string::npos);
  EXPECT_EQ(count(svg, "M-4 4L0 -2L4 4Z"), 1u);
}

TEST(Plots, ADatabaseShowsItsRatiosBesideThosePublished) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  {
    Store store = Store::open_or_create(path);
    fill_replayed(store, replayed_experiment());
  }
  const std::string svg = plot_of(path, Picture::automatic);
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 400 ", 0), 0u);
  EXPECT_SAYS(svg, ">13:40 EP vs Non-EP</text>");
  EXPECT_SAYS(svg, ">ep topk=2</text>");
  EXPECT_SAYS(svg, "published 0.747: agrees in direction");
  EXPECT_SAYS(svg, ">~</text>");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_THROW(plot_of(path, Picture::peak), InputError);  // no record has a share of the peak
  {
    Store store = Store::open_or_create(path);
    StoredExperiment other = replayed_experiment();
    other.name = "other";
    fill_replayed(store, other);
  }
  const std::string both = plot_of(path, Picture::automatic);
  EXPECT_SAYS(both, ">13:40 EP vs Non-EP experiment=ep_vs_none</text>");
  EXPECT_SAYS(both, ">13:40 EP vs Non-EP experiment=other</text>");
}

TEST(Plots, RecordsShowTheirShareOfThePeakByTopk) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  std::ofstream file(path);
  for (const int64_t topk : {8, 1, 2}) {
    StoredJson record = block_record("ep", topk, 0.5);
    record["peak"] = {{"fraction", 0.1 * static_cast<double>(topk)}};
    file << json_text(record) << "\n";
  }
  file.close();
  const std::string svg = plot_of(path, Picture::automatic);
  EXPECT_SAYS(svg, ">top-k</text>");
  const size_t one = svg.find(" at 1: 10.0 %"), two = svg.find(" at 2: 20.0 %"),
               eight = svg.find(" at 8: 80.0 %");
  ASSERT_NE(eight, std::string::npos) << svg;
  EXPECT_LT(one, two);
  EXPECT_LT(two, eight);
  EXPECT_THROW(plot_of(path, Picture::ratios), InputError);  // none of parallel_mode=none is beside them
  EXPECT_THROW(plot_of(folder.file("none.jsonl"), Picture::automatic), InputError);
}

// Each process measured a peak of its own, which may be half of another's where other work took a core.
TEST(Plots, TheShareOfAProcessIsOfItsOwnPeak) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  std::ofstream file(path);
  for (const int process : {1, 2, 4}) {
    StoredJson record = block_record("none", 2, process);
    record["process"] = {{"id", std::to_string(process)}, {"started_s", process}};
    record["peak"] = {{"fraction", 0.25}};
    file << json_text(record) << "\n";
  }
  file.close();
  EXPECT_SAYS(plot_of(path, Picture::peak), "none at 2: 25.0 % [75 %: 25.0..25.0]");
}

TEST(Plots, RecordsOfSeveralMachinesAreNotOnePicture) {
  const TemporaryFolder folder;
  for (const char* name : {"cpu", "cores", "kernel", "host", "build"}) {
    const std::string path = folder.file("a.jsonl");
    std::ofstream file(path);
    for (const std::string mode : {"none", "ep"}) {
      StoredJson record = block_record(mode, 2, mode == "ep" ? 0.5 : 1);
      record["peak"] = {{"fraction", 0.25}};
      record["env"][name] = mode;
      file << json_text(record) << "\n";
    }
    file.close();
    const bool is_machine = name != std::string("host") && name != std::string("build");
    for (const Picture picture : {Picture::ratios, Picture::peak}) {
      if (is_machine) {
        EXPECT_THROW(plot_of(path, picture), InputError) << name;
      } else {
        EXPECT_NO_THROW(plot_of(path, picture)) << name;
      }
    }
  }
}

// Another number of tokens is another curve, another group, and other devices are another mark.
TEST(Plots, UnlikeRecordsHaveNamesOfTheirOwn) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  std::ofstream file(path);
  for (const int64_t hidden : {2048, 4096}) {
    for (const std::string mode : {"none", "ep"}) {
      StoredJson record = block_record(mode, 2, mode == "ep" ? 0.5 : 1);
      record["config"]["hidden"] = hidden;
      record["peak"] = {{"fraction", 0.25}};
      file << json_text(record) << "\n";
      if (mode == "none") continue;
      record["config"]["devices"] = 4;
      file << json_text(record) << "\n";
    }
  }
  file.close();
  const std::string ratios = plot_of(path, Picture::ratios), peak = plot_of(path, Picture::peak);
  EXPECT_SAYS(ratios, ">top-2, 256 tokens hidden=2048</text>");
  EXPECT_SAYS(ratios, ">top-2, 256 tokens hidden=4096</text>");
  EXPECT_EQ(count(ratios, ">ep dense_masked devices=4</text>"), 2u) << ratios;
  EXPECT_SAYS(peak, "none hidden=2048 at 2: 25.0 %");
  EXPECT_SAYS(peak, "none hidden=4096 at 2: 25.0 %");
}

TEST(Plots, RecordsShowTheirRatioToTheRecordOfNoneWithTheSameProblem) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  std::ofstream file(path);
  for (const int64_t topk : {2, 8}) {
    file << json_text(block_record("none", topk, 1)) << "\n"
         << json_text(block_record("ep", topk, 0.5)) << "\n";
  }
  StoredJson wider = block_record("ep", 8, 0.1);
  wider["config"]["hidden"] = 4096;  // nothing of this size is a baseline
  file << json_text(wider) << "\n";
  file.close();
  const std::string svg = plot_of(path, Picture::ratios);
  EXPECT_EQ(count(svg, "over parallel_mode=none</text>"), 2u);
  EXPECT_SAYS(svg, ">top-2, 256 tokens</text>");
  EXPECT_EQ(count(svg, ">ep dense_masked</text>"), 2u) << svg;
  EXPECT_SAYS(svg, "+100.0 %");
}

TEST(Plots, ARefusalNamesTheSimdTargetInWords) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  StoredJson ep = block_record("ep", 2, 0.5);
  ep["env"]["kernel"] = "AVX3";
  std::ofstream(path) << json_text(block_record("none", 2, 1)) << "\n" << json_text(ep) << "\n";
  try {
    plot_of(path, Picture::automatic);
    ADD_FAILURE() << "drawn";
  } catch (const InputError& error) {
    EXPECT_SAYS(std::string(error.what()), "records of the SIMD target AVX-512 and AVX2");
  }
}

// The nodes, the wire between them and the places of the experts are choices of the spread. The wire rounds
// rows, so its name is there even if no other record is beside it.
TEST(Plots, RecordsOfAWireHaveTheirRatioAndItsName) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.jsonl");
  StoredJson ep = block_record("ep", 2, 0.5);
  ep["config"]["ep_path"] = "fused";
  ep["config"]["ranks_per_node"] = 2;
  StoredJson wired = ep;
  wired["config"]["wire"] = "fp8+scales";
  wired["config"]["placement"] = {1, 0};
  std::ofstream file(path);
  for (const StoredJson& record : {block_record("none", 2, 1), ep, wired}) file << json_text(record) << "\n";
  file.close();
  const std::string svg = plot_of(path, Picture::ratios);
  EXPECT_EQ(count(svg, ">ep fused</text>"), 1u) << svg;
  EXPECT_EQ(count(svg, ">ep fused fp8+scales</text>"), 1u) << svg;
  EXPECT_SAYS(svg, "with wire=fp8+scales over");
  EXPECT_SAYS(svg, "+100.0 %");
}

std::string peer_line(const std::string& name, const std::string& contender, double seconds, double peak) {
  StoredJson line = {{"schema", "moehill/peers/1"}, {"case", name}, {"contender", contender},
                     {"seconds", seconds},          {"flops", 1e9}, {"peak_gflops", nullptr}};
  if (peak > 0) line["peak_gflops"] = peak;
  return json_text(line) + "\n";
}

TEST(Plots, SamplesOfPeersShowTheirShareOfThePeakOfTheSameCase) {
  const TemporaryFolder folder;
  const auto plot = [&](const std::string& lines) {
    const std::string path = folder.file("peers.jsonl");
    std::ofstream(path) << lines;
    return plot_of(path, Picture::automatic);
  };
  const std::string eight = "step/bf16/forward/512/top8", two = "step/bf16/forward/512/top2";
  const std::string ours = peer_line(eight, "moehill", 0.02, 100) + peer_line(two, "moehill", 0.04, 50);
  const std::string svg = plot(ours + peer_line(eight, "PyTorch", 0.08, 0));
  EXPECT_SAYS(svg, ">bf16 forward, 512 tokens</text>");
  EXPECT_SAYS(svg, "moehill at 8: 50.0 %");
  EXPECT_SAYS(svg, "moehill at 2: 50.0 %");
  EXPECT_SAYS(svg, "PyTorch at 8: 12.5 %");
  EXPECT_LT(svg.find("moehill at 2"), svg.find("moehill at 8"));
  EXPECT_SAYS(svg, ">top-k</text>");
  EXPECT_SAYS(plot(peer_line("gemm/bf16/34/forward", "moehill", 0.02, 100)), ">rows of a group</text>");
  for (const std::string& bad :
       {ours + peer_line("gemm/bf16/34/forward", "moehill", 0.02, 100), peer_line(two, "PyTorch", 0.02, 0),
        peer_line("step/bf16/forward/512/topx", "moehill", 1, 1), peer_line(two, "moehill", -1, 1),
        ours + "{}\n", ours + "nonsense\n"})
    EXPECT_THROW(plot(bad), InputError) << bad;
  std::string many;
  for (int i = 1; i <= 10001; ++i) many += peer_line(fmt::format("gemm/bf16/{}/forward", i), "moehill", 1, 1);
  EXPECT_THROW(plot(many), InputError);
}

TEST(Plots, WhatIsNoRegularFileIsRefusedAtOnce) {
  const TemporaryFolder folder;
  const std::string pipe = folder.file("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(is_database(pipe));
  for (const std::string& path :
       {pipe, folder.path().string(), std::string("/dev/zero"), folder.file("none")})
    EXPECT_THROW(plot_of(path, Picture::automatic), InputError) << path;
}

}  // namespace
}  // namespace moehill
