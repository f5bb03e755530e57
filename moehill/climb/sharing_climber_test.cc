// Tests of a climb whose arms share a process: which runs share one, what that tells apart, and how races go
// on that were too short.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/climb/climb_report.h"
#include "moehill/climb/climber_fixture.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

// The script measures as many points as the command names. Its fast impl is 3 % faster and the others are
// equal, but each process is up to 8 % faster or slower than another one. In a process each arm is up to
// `most` thousandths faster or slower than it is on average.
class SharingClimberTest : public ClimberTest {
 protected:
  SharingClimberTest() {
    std::ofstream(program_) << R"(#!/bin/sh
log=)" + log_ + R"( n=0
[ ! -f "$log" ] || read -r n <"$log.lines"
n=$((n + 1))
echo $n >"$log.lines"
echo "$*" >>"$log"
percent=$((100 + n * 7919 % 17 - 8)) most=0 k=0
lines=)" + lines_ + R"(
[ ! -f "$lines" ] || . "$lines"
emit() {
  us=1000 k=$((k + 1))
  [ "$1" != fast ] || us=970
  h=$((n * 2654435 + k * 40503 & 4294967295))
  h=$(((h ^ h >> 15) * 2146121005 & 4294967295))
  h=$(((h ^ h >> 13) * 74229387 & 4294967295))
  h=$(((h ^ h >> 16) % (2 * most + 1) - most))
  printf '{"schema":"moehill/1","config":{"impl":"%s"},"check":{"status":"passed"},"tflops":1,"time_s":{"median":0.%09d,' "$1" $((us * percent * (1000 + h)))
  echo '"samples":[1]},"peak":{"fraction":0.5},"memory":{"peak_rss_bytes":1}}'
}
impl=baseline shared=no
while [ $# -gt 0 ]; do
  if [ "$1" = --impl ]; then impl=$2; fi
  if [ "$1" = -L ]; then
    own=${3#impl=}
    emit "${own:-baseline}"
    shared=yes
  fi
  shift
done
[ $shared = yes ] || emit "$impl"
)";
    host_.usable_bytes = 1e9;
    host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                          const std::vector<std::string>& arguments) {
      std::vector<std::string> shared, points;
      for (size_t i = 0; i < arguments.size(); ++i) {
        const bool is_point = arguments[i] == "-L";
        (is_point ? points : shared).push_back(arguments[is_point ? i + 2 : i]);
        if (is_point) i += 2;
      }
      ResolvedPoint resolved = one(command, launched, shared);
      for (const std::string& point : points) resolved.options["points"].push_back(point);
      resolved.bytes = 500.0 * static_cast<double>(std::max<size_t>(1, points.size()));
      return resolved;
    };
  }

  // A climb whose arms may share a process: no limit asks what each of them takes.
  ClimbOptions sharing() const {
    ClimbOptions o = impl_alone();
    o.memory_bytes.reset();
    return o;
  }
  std::vector<std::string> commands() const {
    std::vector<std::string> all;
    std::ifstream file(log_);
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  // Expects that all moves raced arms of one axis whose steps take 4 ms, each what the one before left open.
  void expect_further_races_with_more_steps(const ClimbOutcome& outcome) const {
    Store store = Store::open_existing(place_.file("climb.sqlite"));
    int earlier = 0;
    for (const ClimbMove& move : outcome.moves) {
      EXPECT_EQ(move.axis, ClimbAxis::impl);
      EXPECT_EQ(move.earlier, earlier);
      const std::optional<StoredExperiment> stored = store.find_experiment(move.experiment);
      ASSERT_TRUE(stored) << move.experiment;
      const int64_t steps = earlier == 0 ? 5 : steps_of_further_race(5, move.arms.size(), 0.004);
      EXPECT_EQ(store.points(stored->id).at(0).options["iters"], steps) << move.experiment;
      ++earlier;
    }
  }
  static bool is_shared(const std::string& command) { return command.find(" -L ") != std::string::npos; }
  int64_t num_shared_with(const std::string& text) const {
    const std::vector<std::string> all = commands();
    return std::count_if(all.begin(), all.end(), [&](const std::string& command) {
      return is_shared(command) && command.find(text) != std::string::npos;
    });
  }
};

TEST_F(SharingClimberTest, OneProcessTellsApartWhatTwoProcessesDoNot) {
  const ClimbOutcome outcome = climb(sharing());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  ASSERT_EQ(outcome.moves.size(), 1u);
  const Race& race = outcome.moves[0].result.race;
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
  ASSERT_GT(race.winner(), 0u);
  EXPECT_NEAR(race.gain(race.winner())->ratio, 1 / 0.97, 1e-3);
  EXPECT_LE(race.rounds(), 8) << "three rounds to screen, and five to confirm";
  // The first configuration runs alone at first, then each round is a process, and then the winner runs
  // beside the first configuration in processes of their own.
  const std::vector<std::string> all = commands();
  const auto first = std::find_if(all.begin(), all.end(), is_shared);
  const auto last = std::find_if(all.rbegin(), all.rend(), is_shared).base();
  EXPECT_EQ(first - all.begin(), 1) << "even where the machine is busy";
  EXPECT_TRUE(std::all_of(first, last, is_shared));
  EXPECT_EQ(
      std::count_if(all.begin(), first,
                    [](const std::string& command) { return command.find("--impl") != std::string::npos; }),
      0);
  EXPECT_GE(all.end() - last, 2 * 5);
  EXPECT_EQ(num_shared_with(" --impl "), 0);
  EXPECT_GE(num_shared_with("-L point  -L point impl=fast --json"), 1)
      << "the confirming rounds have two arms";
  EXPECT_GE(num_shared_with("-L point impl=fast -L point  --json"), 1) << "and each of them is first";
  ASSERT_TRUE(outcome.total);
  EXPECT_EQ(outcome.total->n, 5);
}

TEST_F(SharingClimberTest, StartedAgainItRunsNothingAndComesToTheSame) {
  const ClimbOutcome first = climb(sharing());
  const int64_t runs = num_runs();
  const ClimbOutcome second = climb(sharing());
  EXPECT_EQ(num_runs(), runs);
  EXPECT_EQ(climb_text(second, sharing()), climb_text(first, sharing()));
}

TEST_F(SharingClimberTest, ArmsThatPassShareAProcessAgain) {
  std::ofstream(lines_) << "percent=100\ncase \"$*\" in *impl=scatter*|*\"impl scatter\"*) exit 3;; esac\n";
  const ClimbOutcome outcome = climb(sharing());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
  EXPECT_EQ(num_shared_with("impl=scatter"), 1);
  EXPECT_GE(num_shared_with("impl=fast"), 6);
  const std::string text = climb_text(outcome, sharing());
  EXPECT_NE(text.find("out: impl=scatter: failed, status 3"), std::string::npos) << text;
}

TEST_F(SharingClimberTest, AFirstConfigurationThatFailsEndsTheClimbAtOnce) {
  std::ofstream(lines_) << "exit 3\n";
  EXPECT_EQ(climb(sharing()).end, ClimbEnd::check_failed);
  EXPECT_EQ(num_shared_with(""), 0);
}

TEST_F(SharingClimberTest, WhatCannotShareAProcessDoesNot) {
  ClimbOptions limited = sharing();
  limited.memory_bytes = 5000;
  limited.budget_s = 0.3;
  climb(limited);
  host_.usable_bytes = 5 * 500;  // there are six arms
  ClimbOptions large = sharing();
  large.budget_s = 0.3;
  climb(large);
  host_.usable_bytes = 1e9;
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    if (std::count(arguments.begin(), arguments.end(), "-L") > 0)
      throw InputError("--weights cannot be used with -L");
    return one(command, launched, arguments);
  };
  std::filesystem::remove(place_.file("climb.sqlite"));
  climb(large);
  EXPECT_GE(num_runs(), 3);
  EXPECT_EQ(num_shared_with(""), 0);
}

TEST_F(SharingClimberTest, AProcessThatTheBudgetEndsIsMadeByALargerOne) {
  ClimbOptions small = sharing();
  small.budget_s = 0.4;
  small.least_run_s = 0.05;
  std::ofstream(lines_) << "case \"$*\" in *\" -L \"*) exec sleep 1000;; esac\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::budget) << "and not a failure";
  std::filesystem::remove(lines_);
  const ClimbOutcome whole = climb(sharing());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_EQ(whole.winner.options.value("impl", ""), "fast");
}

// A process takes a second, however many arms it has. Alone, three arms would be too many for this budget.
TEST_F(SharingClimberTest, WhatAnArmCostsAloneLeavesNoneOut) {
  ClimbOptions small = sharing();
  let_runs_take_a_second(small);
  small.budget_s = 18;
  const ClimbOutcome outcome = climb(small);
  ASSERT_GE(outcome.moves.size(), 1u);
  size_t num_left_out = 0;
  for (const MoveArmResult& arm : outcome.moves[0].result.arms) num_left_out += arm.left_out ? 1 : 0;
  EXPECT_EQ(num_left_out, 1u) << "the one of 3000 s";
}

// The first race is too short for so much noise. A step takes 4 ms, so further races take more steps.
TEST_F(SharingClimberTest, WhatARaceLeavesOpenIsRacedOnceMore) {
  std::ofstream(lines_) << "percent=4 most=70\n";
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    ResolvedPoint point = one(command, launched, arguments);
    point.options["iters"] = std::stoll(point.options["iters"].get<std::string>());
    return point;
  };
  ClimbOptions o = sharing();
  o.base["iters"] = 5;
  const ClimbOutcome outcome = climb(o);
  const std::string text = climb_text(outcome, o);
  EXPECT_EQ(outcome.end, ClimbEnd::worth) << text;
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << text;
  EXPECT_EQ(text.find("not excluded"), std::string::npos) << text;
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  expect_further_races_with_more_steps(outcome);
  EXPECT_EQ(outcome.winner.options["iters"], 5);
  const int64_t runs = num_runs();
  EXPECT_EQ(climb_text(climb(o), o), text);
  EXPECT_EQ(num_runs(), runs);
}

// No budget is large enough for this noise.
TEST_F(SharingClimberTest, TheBudgetIsSpentAsLongAsSomethingMayGain) {
  std::ofstream(lines_) << "most=400\n";
  ClimbOptions noisy = sharing();
  let_runs_take_a_second(noisy);
  noisy.budget_s = 70;
  const ClimbOutcome outcome = climb(noisy);
  const std::string text = climb_text(outcome, noisy);
  EXPECT_EQ(outcome.end, ClimbEnd::budget) << text;
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  EXPECT_GE(outcome.moves[1].earlier, 1) << text;
  EXPECT_GE(outcome.spent_s, 0.7 * noisy.budget_s) << text;
  EXPECT_LE(outcome.spent_s, 1.1 * noisy.budget_s) << text;
  EXPECT_NE(text.find("; more rounds could tell"), std::string::npos) << text;
}

TEST(StepsOfFurtherRace, TakeAboutAsLongAsTheStartOfTheProcess) {
  EXPECT_EQ(steps_of_further_race(5, 2, 0.004), 20);
  EXPECT_EQ(steps_of_further_race(5, 4, 0.004), 10);
  EXPECT_EQ(steps_of_further_race(5, 2, 1), 5) << "long steps";
  EXPECT_EQ(steps_of_further_race(100, 2, 0.004), 100) << "as asked for";
}

}  // namespace
}  // namespace moehill
