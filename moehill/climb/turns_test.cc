// Tests of commands that run in turn: their order, how their exit statuses are judged, and that a run without
// a figure does not count.
#include "moehill/climb/turns.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

constexpr const char* kPrintsRecord = R"(echo '{"schema":"moehill/1","tflops":1,"check":{"status":"passed"},)"
                                      R"("time_s":{"median":2,"samples":[2]}}')";

class TurnsTest : public testing::Test {
 protected:
  TurnCommand command(const std::string& name, const std::string& script) const {
    return {name, {"sh", "-c", "printf '" + name + "' >>" + log_ + "; " + script}};
  }
  TurnCommand prints_record(const std::string& name) const { return command(name, kPrintsRecord); }
  std::string log() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TemporaryFolder place_;
  const std::string log_ = place_.file("log");
};

TEST_F(TurnsTest, CommandsTakeTurnsAndEachRoundHasTheirFigures) {
  // With only three rounds no round is repeated, no matter what else the machine does.
  const Turns turns = run_in_turn({prints_record("a"), prints_record("b")}, {.rounds = 3});
  EXPECT_EQ(turns.rounds(), 3);
  EXPECT_EQ(turns.seconds_of(1, 0), std::vector<double>(3, 2.0));
  EXPECT_EQ(log(), "abbaba");
}

TEST_F(TurnsTest, ARunWithoutAFigureEndsItWithTheStatusOfItsKind) {
  const auto status_of = [&](const std::string& script) {
    try {
      run_in_turn({prints_record("a"), command("b", script)}, {.rounds = 2});
    } catch (const TurnFailed& failure) {
      return failure.status();
    }
    return 0;
  };
  EXPECT_EQ(status_of("exit 3"), 3);
  EXPECT_EQ(status_of("kill -9 $$"), 5);
  EXPECT_EQ(status_of("true"), 5) << "no record";
  EXPECT_EQ(status_of("echo '{\"schema\":\"moehill/1\",\"tflops\":null}'"), 5) << "no passed check";
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  EXPECT_EQ(status_of(R"(echo '{"tflops":1,"check":{"status":"passed"},"deep":)" + deep + "}'"), 5)
      << "too deep";
  for (const char* rest :
       {R"("check":{"status":"passed"},"ablated":["up"])", R"("check":{"status":"failed"})",
        R"("check":{"status":"off"})", R"("check":{"status":"mistrusted"})", R"("check":{})", R"("seq":0)"})
    EXPECT_EQ(status_of(std::string(R"(echo '{"schema":"moehill/1","tflops":1,)") + rest + "}'"), 5) << rest;
  EXPECT_THROW(run_in_turn({prints_record("a"), command("b", "exit 2")}, {.rounds = 2}), InputError);
}

TEST_F(TurnsTest, LaterRunsAreToldOfResultsThatWereChecked) {
  const std::string told = place_.file("told_");
  const auto with_hashes = [&](const std::string& name, const std::string& hash) {
    return command(
        name, "[ \"$0\" != --checked ] || cat \"$1\" >>" + told + name +
                  R"(; echo '{"schema":"moehill/1","tflops":1,"check":{"status":"passed"},"hash":{)" + hash +
                  R"(},"time_s":{"median":2,"samples":[2]}}')");
  };
  const auto lines_told = [&](const std::string& name) {
    std::ifstream file(told + name);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  };
  const std::string one = R"("operands":"1","results":"2","other_results":"3")",
                    other = R"("operands":"1","results":"4","other_results":"5")";
  run_in_turn({with_hashes("a", one), with_hashes("b", other)}, {.rounds = 3});
  for (const auto& [name, own] : {std::pair("a", R"("results":"2")"), std::pair("b", R"("results":"4")")}) {
    EXPECT_EQ(lines_told(name).size(), 2u) << "of three runs of " << name << ", the second and the third";
    for (const std::string& line : lines_told(name)) EXPECT_NE(line.find(own), std::string::npos) << line;
  }
}

// A build that has to check in every run would otherwise be compared with one that does not.
TEST_F(TurnsTest, AllCommandsTakeChecksOverOrNone) {
  const std::string told = place_.file("told");
  const auto with_hashes = [&](const std::string& name, const std::string& hash) {
    return command(
        name, "[ \"$0\" != --checked ] || echo told >>" + told +
                  R"(; echo '{"schema":"moehill/1","tflops":1,"check":{"status":"passed"},"hash":{)" + hash +
                  R"(},"time_s":{"median":2,"samples":[2]}}')");
  };
  run_in_turn({with_hashes("a", R"("operands":"1","results":"2","other_results":"3")"), with_hashes("b", "")},
              {.rounds = 3});
  EXPECT_FALSE(std::filesystem::exists(told));
}

// Forty rounds of two processes, of which each takes more than a quarter of a second, last longer than ten
// seconds.
TEST_F(TurnsTest, HowLongAllWillTakeIsSaidAfterTheFirstRuns) {
  struct Told {
    std::string line;
  };
  const auto slow = [&](const std::string& name) {
    return command(name, fmt::format("sleep 0.3; {}", kPrintsRecord));
  };
  std::string line;
  try {
    run_in_turn({slow("a"), slow("b")},
                {.rounds = 40, .tell = [](const std::string& words) { throw Told{words}; }});
  } catch (const Told& told) {
    line = told.line;
  }
  EXPECT_EQ(line.rfind("about ", 0), 0u) << line;
  EXPECT_NE(line.find(": 40 rounds of 2 processes"), std::string::npos) << line;
  EXPECT_LE(log().size(), 2u) << log();
}

}  // namespace
}  // namespace moehill
