// Tests of running a program as a child process: its output, its status, the signal that ended it, and that
// nothing of its process group outlives it.
#include "moehill/experiments/child.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "moehill/experiments/driver.h"

namespace moehill {
namespace {

ChildResult shell(const std::string& script, double limit = 60) {
  return run_child({"sh", "-c", script}, limit, -1);
}

// Makes the default action of a signal hold: tests may be started where it is ignored, for example by a
// script in the background.
void stop_ignoring(int number) { std::signal(number, SIG_DFL); }

TEST(Child, BringsOutputStatusAndTail) {
  const ChildResult result = shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(result.end, ChildEnd::exited);
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.error_tail, "err\n");
}

TEST(Child, ReadsMoreThanAPipeHoldsAndKeepsTheEnd) {
  const ChildResult result = shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo last >&2");
  EXPECT_EQ(result.output.size(), 1000000u);
  EXPECT_EQ(result.error_tail.size(), 4096u);
  EXPECT_EQ(result.error_tail.substr(4091), "last\n");
}

// The first records would be lost if the end were kept, and the last ones are lost now.
TEST(Child, MoreOutputThanItMayHaveIsAFailureThatKeepsTheBeginning) {
  for (const char* end : {"", "; yes", "; kill -SEGV $$"}) {
    const std::string script = std::string("echo first; head -c 300000 /dev/zero") + end;
    const ChildResult result = run_child({"sh", "-c", script}, 60, -1, 1000);
    EXPECT_EQ(result.end, ChildEnd::flooded) << script;
    EXPECT_EQ(result.output.size(), 1000u);
    EXPECT_EQ(result.output.substr(0, 6), "first\n");
    EXPECT_EQ(error_line(result.error_tail),
              "moehill: the run printed more than 1000 bytes; what follows is lost");
    EXPECT_EQ(classify(result, 1, false, false), RunState::failed) << script;
  }
  EXPECT_EQ(run_child({"sh", "-c", "head -c 1000 /dev/zero"}, 60, -1, 1000).end, ChildEnd::exited);
}

TEST(Child, ItsPipesHaveTheirUsualAction) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const ChildResult result = shell("kill -PIPE $$; echo alive");
  std::signal(SIGPIPE, before);
  EXPECT_EQ(result.status, 128 + SIGPIPE);
  EXPECT_EQ(result.output, "");
}

TEST(Child, SaysWhichSignalEndedIt) {
  const ChildResult result = shell("kill -SEGV $$");
  EXPECT_EQ(result.end, ChildEnd::signalled);
  EXPECT_EQ(result.status, 128 + SIGSEGV);
}

TEST(Child, ATimeLimitEndsTheWholeGroup) {
  const ChildResult result = shell("trap '' INT TERM; sleep 1000 & echo $!; wait", 0.3);
  EXPECT_EQ(result.end, ChildEnd::timed_out);
  const pid_t grandchild = std::stoi(result.output);
  for (int i = 0; i < 1000 && kill(grandchild, 0) == 0; ++i) {
    // It was killed already; init, or the process that stands in for it, may need a moment to reap it.
    const ChildResult state = shell("cat /proc/" + std::to_string(grandchild) + "/stat");
    if (state.output.empty() || state.output.find(") Z") != std::string::npos) return;
    usleep(1000);
  }
  EXPECT_NE(kill(grandchild, 0), 0);
}

TEST(Child, TheRestOfTheGroupEndsWithIt) {
  const ChildResult result = shell("sleep 1000 >/dev/null 2>&1 & echo $!");
  EXPECT_EQ(result.end, ChildEnd::exited);
  const ChildResult state =
      shell("sleep 0.1; cat /proc/" + std::to_string(std::stoi(result.output)) + "/stat");
  EXPECT_TRUE(state.output.empty() || state.output.find(") Z") != std::string::npos) << state.output;
}

TEST(Child, StopsWhenAsked) {
  stop_ignoring(SIGINT);
  StopSignals stop;
  EXPECT_FALSE(stop.wait(0));
  kill(getpid(), SIGINT);
  const ChildResult result = run_child({"sleep", "1000"}, 1000, stop.file());
  EXPECT_EQ(result.end, ChildEnd::stopped);
  EXPECT_TRUE(stop.wait(0));
  EXPECT_TRUE(stop.wait(0));
}

// Nohup ignores SIGHUP, and a shell ignores SIGINT of what a script runs in the background.
TEST(Child, ASignalThatIsIgnoredStopsNothing) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    for (const int each : {SIGINT, SIGTERM, SIGHUP}) stop_ignoring(each);
    std::signal(number, SIG_IGN);
    StopSignals stop;
    kill(getpid(), number);
    EXPECT_FALSE(stop.wait(0)) << number;
    EXPECT_EQ(run_child({"true"}, 60, stop.file()).end, ChildEnd::exited) << number;
    kill(getpid(), number == SIGHUP ? SIGINT : SIGHUP);
    EXPECT_TRUE(stop.wait(0)) << "the others still stop";
  }
  for (const int each : {SIGINT, SIGTERM, SIGHUP}) stop_ignoring(each);
}

TEST(Child, AProgramThatIsNotThereIsAFailure) {
  const ChildResult result = run_child({"/no/such/program"}, 10, -1);
  EXPECT_EQ(result.status, 127);
}

TEST(Child, TheLauncherIsSplitAndNothingElseIs) {
  EXPECT_EQ(launched("", 2, {"moehill", "a b"}), (std::vector<std::string>{"moehill", "a b"}));
  EXPECT_EQ(launched(" mpirun  -n {devices} ", 4, {"moehill", "{devices}; rm"}),
            (std::vector<std::string>{"mpirun", "-n", "4", "moehill", "{devices}; rm"}));
}

TEST(Child, AnObjectInALineIsReadAsStrictlyAsOneInAFile) {
  const std::optional<StoredJson> object = object_in(R"({"topk": 2})");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->at("topk"), 2);
  const auto nested = [](size_t depth) {
    return R"({"a": )" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(object_in(nested(31)));
  for (const std::string& line : {nested(32), nested(100000), std::string(R"({"topk": 2, "topk": 3})"),
                                  std::string("[2]"), std::string("about 3 minutes"), std::string()})
    EXPECT_FALSE(object_in(line)) << line.substr(0, 40);
}

TEST(Child, EveryEndHasItsState) {
  const auto state = [](ChildEnd end, int status, const std::string& tail, bool launched = false,
                        bool oom = false, size_t records = 0) {
    ChildResult child;
    child.end = end;
    child.status = status;
    child.error_tail = tail;
    return classify(child, records, launched, oom);
  };
  EXPECT_EQ(state(ChildEnd::exited, 0, "", false, false, 1), RunState::done);
  EXPECT_EQ(state(ChildEnd::exited, 0, ""), RunState::failed);
  EXPECT_EQ(state(ChildEnd::exited, 3, "", false, false, 1), RunState::failed);
  EXPECT_EQ(state(ChildEnd::timed_out, 137, ""), RunState::timeout);
  EXPECT_EQ(state(ChildEnd::stopped, 137, ""), RunState::interrupted);
  EXPECT_EQ(state(ChildEnd::signalled, 137, ""), RunState::failed);
  EXPECT_EQ(state(ChildEnd::signalled, 137, "", false, true), RunState::out_of_memory);
  EXPECT_EQ(state(ChildEnd::exited, 2, "moehill: predicted memory: got 9 GiB"), RunState::out_of_memory);
  EXPECT_EQ(state(ChildEnd::exited, 137, "mpirun noticed that process rank 1", true), RunState::rank_lost);
  EXPECT_EQ(state(ChildEnd::exited, 137, "mpirun noticed that process rank 1"), RunState::failed);
}

TEST(ErrorLine, IsTheMessageBehindWarnings) {
  EXPECT_EQ(error_line("moehill: --topk: got 9\n"), "moehill: --topk: got 9");
  EXPECT_EQ(error_line("the machine is busy: load 6\nabout 40 s: 2 points\nmoehill: lost\nmore\n"),
            "moehill: lost");
  EXPECT_EQ(error_line("Segmentation fault\nmoehills\n"), "Segmentation fault");
  EXPECT_EQ(error_line(""), "");
}

}  // namespace
}  // namespace moehill
