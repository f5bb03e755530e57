// Tests that the terminal report says what will run, and then what came out.
#include "moehill/measure/terminal_report.h"

#include <gtest/gtest.h>

#include "moehill/machine/pinning.h"
#include "moehill/measure/results_fixture.h"

namespace moehill {
namespace {

Point point_of(int64_t experts, Pass pass) {
  Point point;
  point.config.shape = {16, 1024, 512, static_cast<int>(experts), 1, 0, DType::bf16};
  point.config.block.pass = pass;
  return point;
}

TEST(TerminalReport, SaysInWhichStateOfTheCachesStepsBegin) {
  EXPECT_NE(describe_command({point_of(4, Pass::forward)}, {}, {}).find("cold caches"), std::string::npos);
}

// The line must not say of all points what only one of them is.
TEST(TerminalReport, SaysWhichPointItDescribes) {
  const std::vector<Point> alike(2, point_of(4, Pass::forward)),
      unlike = {point_of(4, Pass::forward), point_of(8, Pass::forward)};
  EXPECT_NE(describe_command(alike, {}, {}).find("2 points: tokens=16"), std::string::npos);
  EXPECT_NE(describe_command(unlike, {}, {}).find("2 points: the first is tokens=16"), std::string::npos);
}

// Otherwise a single point of expert parallelism would not say by which path it was.
TEST(TerminalReport, NamesThePathAndTheWavesThatWereAskedFor) {
  Point none = point_of(4, Pass::forward), ep = none;
  ep.config.spread = Spread::fused;
  EXPECT_NE(describe_command({ep}, {}, {}).find("; ep by fused\n"), std::string::npos);
  ep.config.num_waves = 2;
  EXPECT_NE(describe_command({none, ep}, {}, {}).find("; ep by fused, 2 waves\n"), std::string::npos);
  EXPECT_EQ(describe_command({none}, {}, {}).find("; ep by"), std::string::npos);
  Point other = ep;
  other.config.spread = Spread::ragged_a2a;
  EXPECT_EQ(describe_command({ep, other}, {}, {}).find("; ep by"), std::string::npos) << "names tell them";

  CommandResult command = made_up_command();
  EXPECT_NE(result_table(command, 0).find("\nep by compact_psum  2 devices"), std::string::npos)
      << result_table(command, 0);
  command.points[1].point.label = "ep-path=compact_psum ep";
  EXPECT_NE(result_table(command, 0).find("\nep-path=compact_psum ep  2 devices"), std::string::npos)
      << result_table(command, 0);
}

TEST(TerminalReport, NamesExpertFormAndRouter) {
  Point point = point_of(4, Pass::forward);
  point.config.shape.form = parse_expert_form("gelu-tanh");
  point.config.shape.router = parse_router_rule("sigmoid,bias");
  const std::string text = describe_command({point}, {}, {});
  EXPECT_NE(text.find("form=gelu-tanh router=sigmoid,bias"), std::string::npos) << text;
}

TEST(TerminalReport, SaysWhatACapacityIsOf) {
  CommandResult command = made_up_command();
  Capacity& capacity = command.points[0].point.config.block.capacity;
  capacity = {CapacityPolicy::drop, 1.25};
  command.points[0].capacity_rows = 8;
  EXPECT_NE(routing_lines(command).find("8 rows an expert; 0 "), std::string::npos) << routing_lines(command);
  capacity.pool = 3;
  EXPECT_NE(routing_lines(command).find("8 rows an expert, shared by pools of 3 experts; "),
            std::string::npos)
      << routing_lines(command);
  capacity.pool = 1;
  capacity.sources = 4;
  EXPECT_NE(routing_lines(command).find("8 rows an expert, for each of 4 sources of tokens; "),
            std::string::npos)
      << routing_lines(command);
}

TEST(TerminalReport, TwoRoundsHaveNoIntervalAndNoVerdict) {
  CommandResult command = made_up_command();
  for (PointResult& point : command.points) point.samples.resize(2);
  EXPECT_EQ(result_table(command, 0).find(" %:"), std::string::npos) << result_table(command, 0);
  const std::string verdict = verdict_lines(command, 0);
  EXPECT_NE(verdict.find("cannot tell: 2 rounds, at least 3 needed; ep/none = 0.5"), std::string::npos)
      << verdict;
  EXPECT_EQ(verdict.find(".."), std::string::npos) << verdict;
}

TEST(TerminalReport, TableAndVerdict) {
  const CommandResult command = made_up_command();
  const std::string table = result_table(command, 0);
  EXPECT_NE(table.find("100.00 [93.8 %: 98.00..101.00]"), std::string::npos) << table;
  EXPECT_NE(table.find("speed to none"), std::string::npos) << table;
  EXPECT_NE(table.find("GF/s"), std::string::npos);
  EXPECT_NE(table.find("2 devices x 1 thread "), std::string::npos) << table;
  EXPECT_NE(table.find("passed"), std::string::npos);
  EXPECT_NE(verdict_lines(command, 0).find("expert parallelism is slower by 50.0 %; ep/none = 0.500 [95 %: "),
            std::string::npos)
      << verdict_lines(command, 0);
}

TEST(TerminalReport, StagesAreOneTableWithAColumnAPoint) {
  CommandResult command = made_up_command();
  const std::string table = stage_table(command);
  EXPECT_NE(table.find("\nstage            pass            none               ep\n"), std::string::npos)
      << table;
  EXPECT_NE(table.find("\nup            forward  60.00 (60.0 %)  120.00 (60.0 %)\n"), std::string::npos)
      << table;
  EXPECT_NE(table.find("\nhand-overs                          3                3\n"), std::string::npos)
      << table;
  for (PointResult& point : command.points) point.stage_samples.clear();
  EXPECT_EQ(stage_table(command), "");
}

TEST(TerminalReport, TheAnswerIsOneSentence) {
  CommandResult command = made_up_command();
  EXPECT_EQ(answer_line(command, 0), "\nExpert parallelism against one device: 50.0 % slower (ep).\n\n");
  for (PointResult& point : command.points) point.samples.resize(2);
  EXPECT_EQ(answer_line(command, 0), "\nExpert parallelism against one device: cannot tell (ep).\n\n");
  command.points[1].check.status = CheckStatus::failed;
  const std::string one = answer_line(command, 0);
  EXPECT_EQ(one.find("\nnone: a step takes 99.00 ms, which is "), 0u) << one;
  EXPECT_NE(one.find(", no throughput without a passed check: ep (failed).\n"), std::string::npos) << one;
  command.points[1] = command.points[0];
  command.points[1].point.label = "fast";
  command.points[1].samples = {0.01, 0.01, 0.01};
  const std::string two = answer_line(command, 0);
  EXPECT_EQ(two.find("\nMost throughput with fast: a step takes 10.00 ms"), 0u) << two;
  EXPECT_NE(two.find("; least with none: a step takes "), std::string::npos) << two;
}

TEST(TerminalReport, NextSaysWhatTheResultLacks) {
  CommandResult command = made_up_command();
  command.order.resize(5);
  EXPECT_EQ(next_line(command, 0).find("Next: moehill probe, "), 0u) << next_line(command, 0);
  for (PointResult& point : command.points) point.samples.resize(2);
  EXPECT_EQ(next_line(command, 0).find("Next: more rounds (--iters 20)"), 0u) << next_line(command, 0);
  command.points[0].check.status = CheckStatus::failed;
  EXPECT_EQ(next_line(command, 0).find("Next: moehill check, "), 0u) << next_line(command, 0);
}

// On one device `ep` still makes its sums over devices; `none` has none to make.
TEST(TerminalReport, EpOnOneDeviceIsJudgedLikeAnyOther) {
  CommandResult command = made_up_command();
  PointResult& ep = command.points[1];
  ep.point.config.num_devices = 1;
  ep.point.config.threads_per_device = 2;
  ep.plan_hash = command.points[0].plan_hash;
  EXPECT_NE(verdict_lines(command, 0).find("slower by 50.0 %"), std::string::npos);
}

TEST(TerminalReport, DataParallelismIsNotCalledExpertParallelism) {
  CommandResult command = made_up_command();
  command.points.push_back(made_up_result(Spread::dp, 0.2));
  EXPECT_EQ(answer_line(command, 0),
            "\nExpert and data parallelism against one device: 50.0 % slower (ep), 50.0 % slower (dp).\n\n");
  command.points.erase(command.points.begin() + 1);
  EXPECT_EQ(answer_line(command, 0), "\nData parallelism against one device: 50.0 % slower (dp).\n\n");
  const std::string line = verdict_lines(command, 0);
  EXPECT_EQ(line.find("dp (topk 2): data parallelism is slower by 50.0 %; dp/none = 0.500"), 0u) << line;
}

// Steps take 0.2 ms. By rounds ep is faster in three of five, but by the medians it is slower.
TEST(TerminalReport, TableAndVerdictHaveOneRatioAndSayWhereTheMediansDiffer) {
  CommandResult command = made_up_command();
  command.points[0].samples = {2.00e-4, 2.02e-4, 2.04e-4, 2.06e-4, 2.08e-4};
  command.points[1].samples = {2.10e-4, 2.11e-4, 2.03e-4, 2.05e-4, 2.07e-4};
  const std::string table = result_table(command, 0), line = verdict_lines(command, 0);
  EXPECT_NE(table.find("1.005"), std::string::npos) << table;
  EXPECT_NE(line.find("ep/none = 1.005 ["), std::string::npos) << line;
  EXPECT_NE(line.find("; the medians order the other way\n"), std::string::npos) << line;
}

// Points that were compared in the same way share a line, and another one than the worst may have a wire.
TEST(TerminalReport, TheErrorOfAWireIsTheLargestOfAllPoints) {
  CommandResult command = made_up_command();
  command.points[0].check.worst_bounds = 5;
  command.points[1].check.worst_bounds = 1;
  command.points[1].check.wire = {8, 0.03, 0.02, 0, 0};
  const std::string lines = check_lines(command);
  EXPECT_NE(lines.find("largest error 5.0 of "), std::string::npos) << lines;
  EXPECT_NE(lines.find("the wire adds 2.0e-02 to y"), std::string::npos) << lines;
}

// Another point may be the one whose threads take turns.
TEST(TerminalReport, TooManyThreadsOfAnyPointAreSaid) {
  CommandResult command = made_up_command();
  command.environment.topology.num_cores = 2;
  const DevicePlace device{"", {{kAnyCpu, 0, 0}}};
  for (const bool first : {true, false}) {
    command.points[0].placement.assign(first ? 4 : 2, device);
    command.points[1].placement.assign(first ? 2 : 4, device);
    EXPECT_NE(machine_lines(command).find("warning: 4 threads on the 2 cores"), std::string::npos) << first;
  }
}

TEST(TerminalReport, APredictionWithoutTheRouterSaysSo) {
  CommandResult command = made_up_command();
  command.points[1].prediction.emplace();
  command.points[1].prediction->time_s = 0.19;
  EXPECT_EQ(prediction_lines(command).find("router"), std::string::npos);
  command.points[1].point.config.block.route_in_step = true;
  EXPECT_NE(prediction_lines(command).find("predicted 190.00 ms without the router, measured "),
            std::string::npos)
      << prediction_lines(command);
}

TEST(TerminalReport, FailedCheckSaysWhyAndShowsNoFigure) {
  CommandResult command = made_up_command();
  command.points[1].check.status = CheckStatus::failed;
  command.points[1].check.reason = "y over its limit";
  command.points[1].samples.clear();
  EXPECT_NE(check_lines(command).find("ep: check failed, y over its limit"), std::string::npos);
  EXPECT_EQ(verdict_lines(command, 0), "");
  const std::string table = result_table(command, 0);
  EXPECT_NE(table.find("failed"), std::string::npos);
}

}  // namespace
}  // namespace moehill
