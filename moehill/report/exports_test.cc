// Tests of the report in forms for other programs (CSV, JSON lines, Google Benchmark, JUnit), and of the rule
// that two runs of the same work are identical, so that no verdict compares them.
#include "moehill/report/exports.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/report/hypotheses.h"
#include "moehill/report/markdown.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

std::vector<PublishedRow> published_rows() { return read_published(""); }

class Exports : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  Store store_ = Store::open_or_create(folder_.file("a.sqlite"));
  void SetUp() override { fill_replayed(store_, replayed_experiment()); }
  std::vector<ExperimentView> views() { return load_views(store_, published_rows()); }
};

TEST_F(Exports, RowsStandBesideBaselineAndPublishedNumber) {
  const ExperimentView view = views()[0];
  ASSERT_EQ(view.rows.size(), 4u);
  EXPECT_FALSE(view.rows[0].baseline.has_value());
  ASSERT_TRUE(view.rows[1].against.has_value());
  EXPECT_TRUE(view.rows[1].against->paired);
  EXPECT_NEAR(view.rows[1].against->ratio, 1 / 1.3, 0.005);
  EXPECT_EQ(view.rows[1].verdict, Verdict::slower);
  ASSERT_TRUE(view.rows[0].published && view.rows[1].published);
  EXPECT_EQ(*view.rows[0].published->tflops, 192.868);
  EXPECT_EQ(*view.rows[1].published->tflops, 143.985);
  EXPECT_FALSE(view.rows[3].timed());
}

TEST_F(Exports, TheFloorOfTheMachineDecides) {
  store_.add_noise_floor(
      {0, "2026-01-01T00:00:00Z", "another CPU, 2 cores, AVX2", "b", 20, 0.9, StoredJson::object()});
  EXPECT_EQ(views()[0].rows[1].verdict, Verdict::slower);
  store_.add_noise_floor(
      {0, "2026-01-01T00:00:00Z", "a CPU, 2 cores, AVX2", "b", 20, 0.5, StoredJson::object()});
  EXPECT_EQ(views()[0].rows[1].verdict, Verdict::within_noise);
}

TEST_F(Exports, CsvHasALineForEveryPoint) {
  const std::string csv = export_csv(views());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_NE(csv.find("\"{\"\"parallel_mode\"\":\"\"ep\"\",\"\"topk\"\":2}\""), std::string::npos) << csv;
  EXPECT_NE(csv.find(",failed,"), std::string::npos);
}

TEST_F(Exports, CsvHasNothingThatATerminalObeysOrASpreadsheetCalculates) {
  std::vector<ExperimentView> all = views();
  all[0].experiment.name = "=1+1\x1b[31m\t<img>";
  const std::string csv = export_csv(all);
  EXPECT_NE(csv.find("\r\n'=1+1 [31m <img>,"), std::string::npos) << csv;
  EXPECT_EQ(csv.find('\x1b'), std::string::npos);
  for (const char* formula : {"=1", "+1", "@a", "-a", "-2+3+cmd|' /C calc'!A0", "-", "-inf"})
    EXPECT_EQ(csv_cell(formula), fmt::format("'{}", formula));
  for (const char* plain : {"-1", "-1.5e-05", "a-b", "1-2", "", "a\xc3\xa9"})
    EXPECT_EQ(csv_cell(plain), plain);
  EXPECT_EQ(csv_cell("a\xc2\x9bKz"), "a Kz") << "xterm takes U+009B for ESC [";
}

TEST_F(Exports, JsonLinesAreTheRecords) {
  std::istringstream lines(export_json_lines(store_));
  int n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    const StoredJson json = StoredJson::parse(line);
    EXPECT_EQ(json["schema"], "moehill/1");
    EXPECT_EQ(json["experiment"], "ep_vs_none");
  }
  EXPECT_EQ(n, 24);
}

TEST_F(Exports, GoogleBenchmarkHasARepetitionARound) {
  const StoredJson json = StoredJson::parse(export_google_benchmark(views()));
  ASSERT_EQ(json["benchmarks"].size(), 24u);
  for (const StoredJson& benchmark : json["benchmarks"]) {
    for (const char* key : {"name", "run_name", "run_type", "repetitions", "repetition_index", "iterations",
                            "real_time", "cpu_time", "time_unit"})
      EXPECT_TRUE(benchmark.contains(key)) << key;
    EXPECT_EQ(benchmark["run_type"], "iteration");
    EXPECT_EQ(benchmark["time_unit"], "ns");
  }
  EXPECT_EQ(json["benchmarks"][0]["real_time"], 1e9);
  EXPECT_EQ(json["benchmarks"][0]["name"], "ep_vs_none/parallel_mode:none/topk:2");
  EXPECT_EQ(json["benchmarks"][0]["label"], "moehill bench --parallel-mode none --topk 2");
}

TEST_F(Exports, GoogleBenchmarkHasTheCpuTimeOfAllProcessesWhereItIsRecorded) {
  std::vector<ExperimentView> all = views();
  const StoredJson before = StoredJson::parse(export_google_benchmark(all))["benchmarks"];
  EXPECT_EQ(before[1]["cpu_time"], before[1]["real_time"]);
  all[0].rows[0].measured->cpu_seconds[0] = 1.75;
  const StoredJson after = StoredJson::parse(export_google_benchmark(all))["benchmarks"];
  EXPECT_EQ(after[0]["real_time"], 1e9);
  EXPECT_EQ(after[0]["cpu_time"], 1.75e9);
  EXPECT_EQ(after[1], before[1]);
}

TEST_F(Exports, GoogleBenchmarkNamesHostAndCaches) {
  std::vector<ExperimentView> all = views();
  StoredJson& env = all[0].rows[0].measured->first["env"];
  env["host"] = "node7";
  env["caches"] = {{"l1d_bytes", 32768}, {"l2_bytes", 1048576}, {"l3_bytes", 33554432}, {"num_l3", 1}};
  const StoredJson context = StoredJson::parse(export_google_benchmark(all))["context"];
  EXPECT_EQ(context["host_name"], "node7");
  EXPECT_EQ(context["caches"].dump(), R"([{"type":"Data","level":1,"size":32768,"num_sharing":1},)"
                                      R"({"type":"Unified","level":2,"size":1048576,"num_sharing":1},)"
                                      R"({"type":"Unified","level":3,"size":33554432,"num_sharing":2}])");
  all[0].rows[1].measured->first["env"]["host"] = "node8";
  EXPECT_EQ(StoredJson::parse(export_google_benchmark(all))["context"]["host_name"], "");
}

TEST_F(Exports, ALauncherIsPartOfTheRepro) {
  StoredExperiment experiment = replayed_experiment();
  experiment.launcher = "mpirun -n {devices} --ntasks={devices}";
  StoredPoint point;
  point.arguments = {"--parallel-mode", "ep", "--filter", "a b"};
  point.options = {{"devices", 4}};
  EXPECT_EQ(repro_of(experiment, point),
            "mpirun -n 4 --ntasks=4 moehill bench --parallel-mode ep --filter 'a b'");
}

std::vector<ExportedRow> exported_rows() {
  StoredJson fast = block_record("none", 2, 0.5), failed = block_record("ep", 2, 0.25);
  fast["time_s"]["samples"] = {0.4, 0.5, 0.6};
  fast["time_s"]["min"] = 0.4;
  fast["time_s"]["max"] = 0.6;
  fast["time_s"]["cpu_s"] = {0.3, 0.4};
  fast["repro"] = "moehill bench --tokens 256";
  failed["tflops"] = nullptr;
  failed["check"]["status"] = "failed";
  return {{"dtype=f32 none", {{"dtype", "f32"}}, fast}, {"dtype=bf16 none", {{"dtype", "bf16"}}, failed}};
}

TEST(Hyperfine, FormsHaveItsColumnsAndNoFigureWithoutACheck) {
  EXPECT_EQ(hyperfine_csv(exported_rows()),
            "command,mean,stddev,median,user,system,min,max,parameter_dtype,name,gflops\r\n"
            "moehill bench --tokens 256,0.5,0.1,0.5,0.7,,0.4,0.6,f32,dtype=f32 none,4000\r\n"
            "moehill bench,,,,,,,,bf16,dtype=bf16 none,\r\n");
  const StoredJson results = StoredJson::parse(hyperfine_json(exported_rows()))["results"];
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0]["times"], (StoredJson{0.4, 0.5, 0.6}));
  EXPECT_EQ(results[0]["exit_codes"], (StoredJson{0, 0, 0}));
  EXPECT_EQ(results[0]["parameters"], (StoredJson{{"dtype", "f32"}}));
  EXPECT_TRUE(results[1]["mean"].is_null());
  EXPECT_TRUE(results[1]["times"].empty());
  EXPECT_EQ(results[1]["check"], "failed");
  const std::string table = hyperfine_markdown(exported_rows());
  EXPECT_NE(table.find("| `dtype=f32 none` | 500.00 ± 100.00 | 400.00 | 600.00 | 1.00 | 4000.0 | "),
            std::string::npos)
      << table;
}

// Each -L point names options of its own, in an order of its own.
TEST(Hyperfine, AValueStandsInTheColumnOfItsParameter) {
  std::vector<ExportedRow> rows = exported_rows();
  rows[0].parameters = {{"topk", "2"}, {"impl", "fast"}};
  rows[1].parameters = {{"impl", "scatter"}, {"dtype", "f32"}};
  EXPECT_EQ(hyperfine_csv(rows),
            "command,mean,stddev,median,user,system,min,max,parameter_topk,parameter_impl,parameter_dtype,"
            "name,gflops\r\n"
            "moehill bench --tokens 256,0.5,0.1,0.5,0.7,,0.4,0.6,2,fast,,dtype=f32 none,4000\r\n"
            "moehill bench,,,,,,,,,scatter,f32,dtype=bf16 none,\r\n");
}

TEST_F(Exports, JunitCountsWhatFailed) {
  const std::string xml = export_junit(store_, views());
  // Four points, one pair of points, and the two expectations that name none.
  EXPECT_NE(xml.find("tests=\"7\" failures=\"0\" errors=\"1\" skipped=\"2\""), std::string::npos) << xml;
  for (const char* part :
       {"<property name=\"gflops\" value=\"", "<property name=\"verdict\" value=\"slower\"/>",
        "<property name=\"repro\" value=\"moehill bench --parallel-mode ep --topk 2\"/>",
        "&lt; 1.0 at topk = 2: ", "<skipped message=\"undecided: no pair of points with results\"/>",
        "<skipped message=\"undecided: cannot be read\"/>"})
    EXPECT_NE(xml.find(part), std::string::npos) << part << " in " << xml;
  EXPECT_NE(xml.find("it &lt;broke&gt;"), std::string::npos);
}

// Whoever asks for less after seeing the results must not pass a gate by that.
TEST_F(Exports, JunitCountsTheExpectationsThatStoodBeforeTheResults) {
  StoredExperiment gate = replayed_experiment();
  gate.name = "gate";
  gate.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 2"};
  fill_replayed(store_, gate);
  gate.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 0.5 at topk = 2",
                 "ratio(parallel_mode = ep, parallel_mode = none) >= 0.5 at topk = 9"};
  fill_replayed(store_, gate);
  std::vector<ExperimentView> all = views();
  std::erase_if(all, [](const ExperimentView& view) { return view.experiment.name != "gate"; });
  ASSERT_EQ(all.size(), 1u);
  const std::string xml = export_junit(store_, all);
  EXPECT_NE(xml.find("tests=\"7\" failures=\"1\" errors=\"1\" skipped=\"2\""), std::string::npos) << xml;
  for (const char* part : {"<failure message=\"not met: `parallel_mode=ep topk=2`",
                           "<skipped message=\"named after the first result: does not count: met: ",
                           "does not count: no pair of points with results\"/>"})
    EXPECT_NE(xml.find(part), std::string::npos) << part << " in " << xml;
}

TEST_F(Exports, HostileTextStaysText) {
  fill_replayed(store_, hostile_experiment());
  for (const std::string& text : {export_markdown(views()), export_junit(store_, views())}) {
    EXPECT_EQ(text.find("<img"), std::string::npos);
    EXPECT_EQ(text.find("</script>"), std::string::npos);
    EXPECT_NE(text.find("&lt;img"), std::string::npos);
  }
}

TEST(Markdown, EscapesAndSpans) {
  EXPECT_EQ(markdown_text("<b>*a*\n[x](y) | `c`"), "&lt;b&gt;\\*a\\* \\[x\\](y) \\| \\`c\\`");
  EXPECT_EQ(markdown_code("a`b|c"), "`` a`b\\|c ``");
  EXPECT_EQ(markdown_code("plain"), "`plain`");
  EXPECT_EQ(markdown_text("a\x7f\xc2\x9bKz"), "a  Kz");
  EXPECT_EQ(markdown_code("a\xc2\x9bKz"), "`a Kz`");
  EXPECT_EQ(xml_text("a\x1b\x7f\xc2\x9bK\tz\n\xc3\xa9"), "a???K\tz&#10;\xc3\xa9");
}

TEST(Published, MatchesBySizesModeAndChoices) {
  const std::vector<PublishedRow> rows = published_rows();
  ASSERT_GT(rows.size(), 150u);
  const auto tflops = [&](const StoredJson& config, const char* section, const char* path) {
    const PublishedRow* row = find_published(rows, section, config, path);
    return row == nullptr ? 0.0 : *row->tflops;
  };
  StoredJson config = block_config("ep", 8);
  EXPECT_EQ(tflops(config, "14:22 EP compact local dispatch", ""), 116.472);
  config["ep_path"] = "compact_psum";
  EXPECT_EQ(tflops(config, "14:22 EP compact local dispatch", ""), 336.867);
  config["topk"] = 3;
  EXPECT_EQ(tflops(config, "14:22 EP compact local dispatch", ""), 0.0);
  config = block_config("dp", 2);
  config["mlp_dim"] = 2048, config["experts"] = 64, config["shared_expert_dim"] = 0;
  config["bench_pass"] = "forward";
  EXPECT_EQ(tflops(config, "17:05 Overlap harness baseline", "fused_ep"), 63.143);
  config["topk"] = 8;
  for (const auto& [blocks, figure] : {std::pair("bt=128,bf=1024,bd1=1024,bd2=1024,btc=64", 97.455),
                                       std::pair("bt=64,bf=2048,bd1=1024,bd2=1024,btc=64", 100.938),
                                       std::pair("bt=128,bf=1024,bd1=1024,bd2=2048,btc=64", 99.541),
                                       std::pair("bt=256,bf=1024,bd1=1024,bd2=1024,btc=64", 0.0)}) {
    config["blocks"] = blocks;
    EXPECT_EQ(tflops(config, "19:40 Block-tuning probe", "fused_ep"), figure) << blocks;
    EXPECT_EQ(tflops(config, "19:40 Block-tuning probe", "staged_dp"), 130.640);
  }
  EXPECT_THROW(parse_published("a,b\n", "x"), InputError);
  for (const std::string figure : {"", "nan", "inf", "-1", "0", "1e999", "x"}) {
    const std::string head =
        "section,parallel_mode,hidden,mlp_dim,experts,topk,shared,tokens,pass,extra,tflops,tokens_per_s\n";
    const std::string row = "s,ep,8,8,4,2,0,16,forward,," + figure + "," + figure + "\n";
    const std::vector<PublishedRow> parsed = parse_published(head + row, "x");
    ASSERT_EQ(parsed.size(), 1u);
    EXPECT_FALSE(parsed[0].tflops || parsed[0].tokens_per_s) << figure;
  }
  EXPECT_THROW(read_published("/nowhere.csv"), InputError);
}

TEST(IdenticalRecords, SamePlanPathStagesKernelsAndLayout) {
  const StoredJson a = block_record("none", 2, 1);
  StoredJson same = block_record("none", 2, 2);
  same["config"]["iters"] = 7;
  EXPECT_TRUE(identical_records(a, same));
  const std::pair<const char*, const char*> differences[] = {{"/config/backend", "ragged_dot"},
                                                             {"/hash/plan", "other"},
                                                             {"/path", "fused_ep"},
                                                             {"/timed_region", "reduce"},
                                                             {"/env/build", "b2"},
                                                             {"/env/cpu", "another CPU"},
                                                             {"/layout/cores", "1"},
                                                             {"/config/check", "off"}};
  for (const auto& [pointer, value] : differences) {
    StoredJson b = a;
    b[StoredJson::json_pointer(pointer)] = value;
    EXPECT_FALSE(identical_records(a, b)) << pointer;
  }
}

// On one device, ep has the plan of none but computes two more sums.
TEST(IdenticalRecords, AnotherModeIsMeasuredEvenOnOneDevice) {
  StoredJson none = block_record("none", 2, 1), ep = none;
  none["layout"]["devices"] = ep["layout"]["devices"] = 1;
  ep["config"]["parallel_mode"] = "ep";
  ep["config"]["ep_path"] = "compact_psum";
  EXPECT_FALSE(identical_records(none, ep));
}

// The options of a point may name several values. Its results are rows of their own, and each is compared
// with the result of the baseline that has the same of these values.
TEST_F(Exports, EachResultOfAPointOfSeveralIsARow) {
  StoredExperiment experiment = replayed_experiment();
  experiment.name = "both_modes";
  experiment.baseline = {{"topk", 2}};
  const std::string expected = "ratio(topk = 8, topk = 2) >= 1.0";
  Journal journal(store_, this_process(), {{"build", "b"}});
  std::vector<StoredPoint> points(2);
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].label = points[i].identity = i == 0 ? "topk=2" : "topk=8";
    points[i].position = static_cast<int64_t>(i);
    points[i].axes = {{"topk", i == 0 ? 2 : 8}};
    points[i].is_baseline = i == 0;
  }
  journal.save_plan(experiment, points);
  for (int64_t round = 0; round < experiment.rounds; ++round) {
    for (const StoredPoint& point : points) {
      const int64_t topk = point.axes["topk"];
      AttemptResult result;
      result.state = RunState::done;
      result.records = {block_record("none", topk, 1.0), block_record("ep", topk, 0.5)};
      journal.finish(journal.claim(point.id, round, 60).claim, result);
    }
  }
  const std::vector<ExperimentView> all = views();
  const auto view = std::find_if(all.begin(), all.end(), [&](const ExperimentView& one) {
    return one.experiment.name == experiment.name;
  });
  ASSERT_NE(view, all.end());
  ASSERT_EQ(view->rows.size(), 4u);
  for (size_t i = 0; i < view->rows.size(); ++i) {
    const ResultRow& row = view->rows[i];
    EXPECT_EQ(row.measured->seconds, std::vector<double>(8, i % 2 == 0 ? 1.0 : 0.5)) << i;
    EXPECT_EQ(row.baseline, i < 2 ? std::nullopt : std::optional<size_t>(i - 2)) << i;
    EXPECT_NE(view->label(row).find(i % 2 == 0 ? "(parallel_mode=none" : "(parallel_mode=ep"),
              std::string::npos)
        << view->label(row);
  }
  const JudgedExpectation judged = judge_expectation(*view, expected);
  ASSERT_EQ(judged.pairs.size(), 2u);
  for (const JudgedPair& pair : judged.pairs) EXPECT_EQ(pair.over, pair.under + 2);
  EXPECT_NE(export_csv({*view}).find("topk=8 (parallel_mode=ep"), std::string::npos);
  EXPECT_NE(export_junit(store_, {*view}).find("name=\"parallel_mode=ep ep_path=dense_masked.ms\""),
            std::string::npos);
}

TEST_F(Exports, TwoRoundsHaveNoIntervalsAnywhere) {
  StoredExperiment two = replayed_experiment();
  two.name = "two";
  two.rounds = 2;
  fill_replayed(store_, two);
  const std::vector<ExperimentView> all = views();
  const ExperimentView& view = all[0].experiment.name == "two" ? all[0] : all[1];
  ASSERT_TRUE(view.rows[1].against.has_value());
  EXPECT_EQ(view.rows[1].verdict, Verdict::cannot_tell);
  const std::string table = result_table_markdown(view);
  EXPECT_NE(table.find("cannot tell: 2 rounds, at least 3 needed"), std::string::npos) << table;
  EXPECT_EQ(table.find(".."), std::string::npos) << table;
  EXPECT_NE(export_csv({view}).find(",cannot tell,"), std::string::npos);
}

TEST_F(Exports, IntervalsSayTheirCoverage) {
  const std::string table = result_table_markdown(views()[0]), csv = export_csv(views());
  EXPECT_NE(table.find(" [99.2 %: "), std::string::npos) << table;  // eight rounds
  EXPECT_NE(table.find(" [95 %: "), std::string::npos) << table;
  EXPECT_NE(csv.find(",0.992188,0.95,moehill bench"), std::string::npos) << csv;
}

}  // namespace
}  // namespace moehill
