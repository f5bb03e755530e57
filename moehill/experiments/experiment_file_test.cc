// Tests of experiment files: every key is read, axes become points in the order of the file, and a mistake is
// reported with its line and with what was probably meant.
#include "moehill/experiments/experiment_file.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/experiments/matrix.h"

namespace moehill {
namespace {

std::vector<std::string> known_options(SweptCommand) {
  return {"tokens", "topk", "experts", "parallel_mode", "stage_timing", "capacity_factor", "hidden", "json"};
}

ExperimentFile parse(const std::string& toml) { return parse_experiment("x/q.toml", toml, known_options); }

std::string error_of(const std::string& toml) {
  try {
    expand_matrix(parse(toml));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

constexpr const char* kWhole = R"(
title = "a title"
hypothesis = "h"
expect = "ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 8"
next_action = "n"
baseline = { parallel_mode = "none" }
launcher = "mpirun -n {devices}"
exclude = [{ topk = [2], experts = 16 }]
[fixed]
stage_timing = true
tokens = 64
[axes]
topk = [2, 8]
parallel_mode = ["none", "ep"]
[[zip]]
hidden = [32, 64]
experts = [8, 16]
[measure]
rounds = 3
timeout_s = 1.5
retries = 2
interleave = false
[reference]
section = "s"
defect = "d"
)";

TEST(ExperimentFile, ReadsEveryKey) {
  const ExperimentFile file = parse(kWhole);
  EXPECT_EQ(file.name, "q");
  EXPECT_EQ(file.title, "a title");
  EXPECT_EQ(file.expect.size(), 1u);
  EXPECT_EQ(file.launcher, "mpirun -n {devices}");
  EXPECT_EQ(file.reference_section + file.reference_defect, "sd");
  EXPECT_EQ(file.rounds, 3);
  EXPECT_EQ(file.timeout_s, 1.5);
  EXPECT_EQ(file.retries, 2);
  EXPECT_FALSE(file.interleave);
  EXPECT_EQ(file.toml, kWhole);
  EXPECT_EQ(file.axis_names(), (std::vector<std::string>{"topk", "parallel_mode", "hidden", "experts"}));
  EXPECT_EQ(file.place_of("topk"), "x/q.toml:13:1");
}

TEST(ExperimentFile, TheMatrixIsTheProductInTheOrderOfTheFile) {
  const std::vector<MatrixPoint> points = expand_matrix(parse(kWhole));
  ASSERT_EQ(points.size(), 6u);  // 2 * 2 * 2 less topk = 2 with 16 experts
  EXPECT_EQ(points[0].label, "topk=2 parallel_mode=none hidden=32 experts=8");
  EXPECT_EQ(points[1].label, "topk=2 parallel_mode=ep hidden=32 experts=8");
  EXPECT_EQ(points[3].label, "topk=8 parallel_mode=none hidden=64 experts=16");
  EXPECT_TRUE(points[0].is_baseline);
  EXPECT_FALSE(points[1].is_baseline);
  EXPECT_EQ(points[0].axes.dump(), R"({"topk":2,"parallel_mode":"none","hidden":32,"experts":8})");
  EXPECT_EQ(arguments_of(points[0].options),
            (std::vector<std::string>{"--stage-timing", "--tokens", "64", "--topk", "2", "--parallel-mode",
                                      "none", "--hidden", "32", "--experts", "8"}));
}

TEST(ExperimentFile, AFileWithoutAxesIsOnePoint) {
  const std::vector<MatrixPoint> points =
      expand_matrix(parse("title = 't'\n[fixed]\nstage_timing = false\ntopk = [1, 2]"));
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].label, "point");
  EXPECT_EQ(arguments_of(points[0].options), (std::vector<std::string>{"--topk", "1,2"}));
}

TEST(ExperimentFile, SaysWhereAndWhatWasMeant) {
  const auto expect_error = [](const std::string& toml, const std::string& place, const std::string& hint) {
    const std::string error = error_of(toml);
    EXPECT_NE(error.find(place), std::string::npos) << toml << "\n" << error;
    EXPECT_NE(error.find(hint), std::string::npos) << toml << "\n" << error;
  };
  expect_error("title = 't'\ntitel = 'u'", "x/q.toml:2:1", "did you mean title?");
  expect_error("title = 't'\n[fixed]\n  topkk = 2", "x/q.toml:3:3", "did you mean topk?");
  expect_error("title = 't'\n[axes]\ntokns = [2]", "x/q.toml:3:1", "did you mean tokens?");
  expect_error("title = 't'\n[fixed]\njson = '-'", "x/q.toml:3:1", "unknown key");
  expect_error("title = 't'\n[measure]\nrouds = 2", "x/q.toml:3:1", "did you mean rounds?");
  expect_error("title = 't'\n[measure]\nrounds = 0", "x/q.toml:3:10", "from 1");
  expect_error("title = 't'\n[measure]\nprocess = 'rank'", "x/q.toml:3:11", "point, round");
  expect_error("title = 't'\ncommand = 'profile'\n[measure]\nprocess = 'round'", "x/q.toml:4:11",
               "round\" cannot be used with command profile; leave one of the two out");
  expect_error("title = 't'\nlauncher = 'mpirun'\n[measure]\nprocess = 'round'", "x/q.toml:4:11", "launcher");
  expect_error("title = 't'\n[measure]\ninterleave = false\nprocess = 'round'", "x/q.toml:4:11",
               "interleave");
  expect_error("title = 3", "x/q.toml:1:9", "a string");
  expect_error("title = ", "x/q.toml:1:", "TOML");
  expect_error("hypothesis = 'h'", "x/q.toml", "no title");
  expect_error("title = 't'\ncommand = 'mesh'", "x/q.toml:2:11", "mesh");
  expect_error("title = 't'\n[fixed]\ntopk = 2\n[axes]\ntopk = [2]", "x/q.toml:5:1", "again");
  expect_error("title = 't'\n[axes]\ntopk = [2, 2]", "x/q.toml:3:12", "again");
  expect_error("title = 't'\n[axes]\ntopk = 2", "x/q.toml:3:8", "an array");
  expect_error("title = 't'\n[axes]\ntopk = []", "x/q.toml:3:8", "empty");
  expect_error("title = 't'\n[fixed]\ncapacity_factor = nan", "x/q.toml:3:19", "not finite");
  expect_error("title = 't'\n[[zip]]\ntopk = [1, 2]\ntokens = [3]", "x/q.toml:4:1", "2 as for topk");
  expect_error("title = 't'\nbaseline = { topk = 9 }\n[axes]\ntopk = [2]", "x/q.toml:2:", "topk = 2");
  expect_error("title = 't'\nbaseline = { tokens = 9 }\n[axes]\ntopk = [2]", "x/q.toml:2:", "unknown key");
  expect_error("title = 't'\nexclude = [{ topk = 2 }]\n[axes]\ntopk = [2]", "x/q.toml", "at least one point");
  expect_error("title = 't'\nexclude = [{ topk = 2 }]\nbaseline = { topk = 2 }\n[axes]\ntopk = [2, 3]",
               "x/q.toml", "baseline");
  expect_error("title = 't'\nexpect = 'ratio(topk = 2, topk = 3) > 1'\n[axes]\ntopk = [2]",
               "x/q.toml:2:", "topk = 2");
  expect_error("title = 't'\nexpect = 'ratio(topkk = 2, topkk = 3) > 1'\n[axes]\ntopk = [2]",
               "x/q.toml:2:", "did you mean topk?");
  expect_error("title = 't'\nexpect = 'faster'", "faster", "ratio(");
}

}  // namespace
}  // namespace moehill
