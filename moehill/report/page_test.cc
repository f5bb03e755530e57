// Tests of the page and its data, from a small database.
#include "moehill/report/page.h"

#include <gtest/gtest.h>

#include <limits>

#include "moehill/report/measured.h"
#include "moehill/report/page_data.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

StoredJson record(double seconds, double tflops) {
  StoredJson json = small_record(seconds);
  json["tflops"] = tflops;
  return json;
}

// Returns data of a `none` point at 2 TF/s and an `ep` point at 3 TF/s, in each of four rounds.
StoredJson two_point_data(const std::string& path) {
  Store store = Store::open_or_create(path);
  Journal journal(store, this_process(), {{"host", "test"}});
  std::vector<StoredPoint> points = two_points();
  journal.save_plan(small_experiment(4, 0), points);
  for (int64_t round = 0; round < 4; ++round) {
    for (size_t i = 0; i < 2; ++i) {
      AttemptResult result = done_in(1);
      result.records = {record(1, i == 0 ? 2 : 3)};
      journal.finish(journal.claim(points[i].id, round, 60).claim, result);
    }
  }
  return page_data(store, {});
}

TEST(PageData, ComparesAPointWithItsBaseline) {
  const TemporaryFolder folder;
  const StoredJson data = two_point_data(folder.file("a.sqlite"));
  const StoredJson& points = data["experiments"][0]["points"];
  ASSERT_EQ(points.size(), 2);
  EXPECT_TRUE(points[0]["results"][0]["ratio"].is_null());
  EXPECT_DOUBLE_EQ(points[1]["results"][0]["ratio"]["value"].get<double>(), 1.5);
  EXPECT_EQ(points[1]["results"][0]["ratio"]["verdict"], "faster");
  EXPECT_EQ(points[1]["results"][0]["ratio"]["coverage"], 0.95);
  EXPECT_EQ(points[1]["results"][0]["tflops_coverage"], 0.875);
  EXPECT_DOUBLE_EQ(points[1]["results"][0]["tflops"].get<double>(), 3);
  EXPECT_EQ(points[1]["results"][0]["rounds"], 4);
}

// Returns the published part of a point `fast`, beside these published rows of its section.
StoredJson published_of_fast(const std::string& path, const std::string& rows) {
  Store store = Store::open_or_create(path);
  Journal journal(store, this_process(), {{"host", "test"}});
  StoredExperiment experiment = replayed_experiment();
  experiment.baseline = {{"impl", "baseline"}};
  std::vector<StoredPoint> points(2);
  for (size_t i = 0; i < 2; ++i) {
    const std::string impl = i == 0 ? "baseline" : "fast";
    points[i].label = points[i].identity = impl;
    points[i].position = static_cast<int64_t>(i);
    points[i].axes = {{"impl", impl}};
    points[i].is_baseline = i == 0;
  }
  journal.save_plan(experiment, points);
  for (const StoredPoint& point : points) {
    AttemptResult result = done_in(1);
    result.records = {block_record("none", 2, 1)};
    result.records[0]["config"]["impl"] = point.label;
    journal.finish(journal.claim(point.id, 0, 60).claim, result);
  }
  const std::string header =
      "section,parallel_mode,hidden,mlp_dim,experts,topk,shared,tokens,pass,extra,tflops,tokens_per_s\n";
  const StoredJson data = page_data(store, parse_published(header + rows, "test"));
  return data["experiments"][0]["points"][1]["results"][0]["published"];
}

// The original may have one figure for both points, which is no comparison.
TEST(PageData, OnePublishedFigureIsNoRatio) {
  const TemporaryFolder folder;
  const std::string row = "13:40 EP vs Non-EP,none,2048,1408,60,2,5632,32768,forward_backward,";
  const StoredJson same = published_of_fast(folder.file("a.sqlite"), row + "queue=full,100,\n");
  EXPECT_EQ(same["tflops"], 100);
  EXPECT_TRUE(same["ratio"].is_null()) << same;
  const StoredJson apart =
      published_of_fast(folder.file("b.sqlite"), row + "impl=baseline,100,\n" + row + "impl=fast,150,\n");
  EXPECT_EQ(apart["tflops"], 150);
  EXPECT_EQ(apart["ratio"], 1.5);
}

TEST(PageData, JudgesExpectationsAndSaysHowToMeasureAgain) {
  const TemporaryFolder folder;
  const StoredJson data = two_point_data(folder.file("a.sqlite"));
  const StoredJson& experiment = data["experiments"][0];
  ASSERT_EQ(experiment["expectations"].size(), small_experiment(4, 0).expect.size());
  for (const StoredJson& expectation : experiment["expectations"]) {
    ASSERT_EQ(expectation["pairs"].size(), 1);
    EXPECT_DOUBLE_EQ(expectation["pairs"][0]["value"].get<double>(), 1.5);
    EXPECT_EQ(expectation["verdict"], "met");
    EXPECT_TRUE(expectation["fixed"].get<bool>());
  }
  EXPECT_EQ(experiment["points"][0]["repro"].get<std::string>().rfind("moehill bench", 0), 0);
}

TEST(PageData, AnExpectationWrittenAfterTheFirstResultIsMarked) {
  const TemporaryFolder folder;
  two_point_data(folder.file("a.sqlite"));
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  Journal journal(store, this_process(), {{"host", "test"}});
  StoredExperiment experiment = small_experiment(4, 0);
  const std::string before = experiment.expect[0];
  experiment.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 2.0"};
  std::vector<StoredPoint> points = two_points();
  journal.save_plan(experiment, points);
  const StoredJson expectations = page_data(store, {})["experiments"][0]["expectations"];
  ASSERT_EQ(expectations.size(), 2);
  EXPECT_EQ(expectations[0]["text"], before);
  EXPECT_EQ(expectations[0]["fixed"], true);
  EXPECT_EQ(expectations[1]["verdict"], "not met");
  EXPECT_EQ(expectations[1]["fixed"], false);
}

TEST(PageData, TheBaselineIsTheOneThatAgreesInMostAxes) {
  std::vector<StoredPoint> points(3);
  points[0].axes = {{"parallel_mode", "none"}, {"topk", 2}};
  points[1].axes = {{"parallel_mode", "none"}, {"topk", 8}};
  points[2].axes = {{"parallel_mode", "ep"}, {"topk", 8}};
  points[0].is_baseline = points[1].is_baseline = true;
  EXPECT_EQ(baseline_of(points, points[2]), &points[1]);
  EXPECT_EQ(baseline_of(points, points[0]), nullptr);
}

TEST(PageData, IntensityIsFlopsOverTheLeastBytes) {
  const StoredJson config = {
      {"tokens", 10},           {"hidden", 4},    {"mlp_dim", 6},           {"experts", 3}, {"topk", 2},
      {"shared_expert_dim", 5}, {"dtype", "f32"}, {"bench_pass", "forward"}};
  // 6 T H (k M + S) FLOPs; 3 H (E M + S) weights, T H of x and of y, four bytes each.
  EXPECT_DOUBLE_EQ(least_intensity(config).get<double>(), 6.0 * 10 * 4 * 17 / (4 * (3 * 4 * 23 + 2 * 40)));
  EXPECT_TRUE(least_intensity(StoredJson::object()).is_null());
  // Five of the 20 assignments were dropped: 15 of 2 x 3 H M FLOPs each, and the shared expert.
  EXPECT_DOUBLE_EQ(least_intensity(config, 5).get<double>(),
                   6.0 * 4 * (15 * 6 + 10 * 5) / (4 * (3 * 4 * 23 + 2 * 40)));
  EXPECT_DOUBLE_EQ(least_intensity(config, 1e300).get<double>(),
                   6.0 * 4 * 10 * 5 / (4 * (3 * 4 * 23 + 2 * 40)));
}

TEST(PageData, SizesThatNoRunHasGiveNoIntensity) {
  const StoredJson config = {{"tokens", 10}, {"hidden", 4}, {"mlp_dim", 6}, {"experts", 3}, {"topk", 2}};
  EXPECT_TRUE(least_intensity(config).is_number());
  for (const char* size : {"tokens", "hidden", "mlp_dim"}) {
    StoredJson huge = config;
    huge[size] = std::numeric_limits<int64_t>::max();
    EXPECT_TRUE(least_intensity(huge).is_null()) << size;
  }
  StoredJson product = config;
  product["hidden"] = product["mlp_dim"] = 2147483647;
  EXPECT_TRUE(least_intensity(product).is_null());
}

TEST(Page, TextFromFilesCannotLeaveTheData) {
  const TemporaryFolder folder;
  const std::string page = html_page(two_point_data(folder.file("a.sqlite")));
  EXPECT_EQ(page.find("onerror=alert(1)>"), std::string::npos);
  EXPECT_NE(page.find("\\u003c/script\\u003e\\u003cimg src=x onerror=alert(1)\\u003e"), std::string::npos);
  EXPECT_EQ(script_safe("<>&\xe2\x80\xa8\xe2\x80\xa9"), "\"\\u003c\\u003e\\u0026\\u2028\\u2029\"");
}

TEST(Page, IsSelfContainedAndSmall) {
  const std::string_view shell = page_shell();
  EXPECT_LT(shell.size(), 1'500'000);
  EXPECT_NE(shell.find("default-src 'none'; script-src 'sha256-"), std::string_view::npos);
  EXPECT_EQ(shell.find("unsafe-"), std::string_view::npos);
  EXPECT_EQ(shell.find(kDataMark), shell.rfind(kDataMark));
  EXPECT_EQ(shell.find("<link"), std::string_view::npos);
  EXPECT_EQ(shell.find("src=\"http"), std::string_view::npos);
}

TEST(Page, TheSameDatabaseGivesTheSameBytes) {
  const TemporaryFolder folder;
  const StoredJson data = two_point_data(folder.file("a.sqlite"));
  Store store = Store::open_existing(folder.file("a.sqlite"));
  EXPECT_EQ(html_page(data), html_page(page_data(store, {})));
}

}  // namespace
}  // namespace moehill
