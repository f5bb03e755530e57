// Tests of the race on samples of known distributions: how often it is wrong, what it finds, and which arms
// it drops.
#include "moehill/climb/race.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "moehill/bench/schedule.h"
#include "moehill/bench/statistics.h"
#include "moehill/climb/climber.h"
#include "moehill/machine/clock.h"

namespace moehill {
namespace {

// Noise is the noise of each run, a state of the machine that lasts over rounds, and single runs that other
// work slows by up to a share.
struct Noise {
  double each = 0.015, drift = 0.03, disturbed = 0.05, by = 0.3;
  bool heavy_tails = false;
};
constexpr Noise kMachines[] = {{.drift = 0, .disturbed = 0},
                               {.each = 0.01, .disturbed = 0.1},
                               {.each = 0.01, .heavy_tails = true},
                               {.each = 0.03, .disturbed = 0}};

class Track {
 public:
  Track(const Noise& noise, uint32_t seed) : noise_(noise), random_(seed) {}

  // Runs a race of arms with these true speeds to its end, with at most `screening` rounds of screening, and
  // at most `rounds` in all.
  Race run(const std::vector<double>& speeds, const RaceRules& rules, int64_t screening = 1000,
           int64_t rounds = 1000) {
    Race race(speeds.size(), rules);
    while (!race.over()) {
      const double state = noise_.drift * normal_(random_);
      std::vector<std::optional<double>> seconds(speeds.size());
      for (size_t i = 0; i < speeds.size(); ++i)
        if (race.wants(i)) seconds[i] = std::exp(state + run_noise()) / speeds[i];
      race.add_round(seconds);
      if (race.rounds() == screening && !race.confirm_best()) race.end();
      if (race.rounds() == rounds) race.end();
    }
    return race;
  }

 private:
  double run_noise() {
    double log = noise_.each * (noise_.heavy_tails ? tails_(random_) : normal_(random_));
    if (uniform_(random_) < noise_.disturbed) log += noise_.by * uniform_(random_);
    return log;
  }

  Noise noise_;
  std::mt19937 random_;
  std::normal_distribution<double> normal_;
  std::student_t_distribution<double> tails_{3};
  std::uniform_real_distribution<double> uniform_;
};

// Each climb makes kMostMoves moves among equal arms, and half of them are further races, which go on for
// long. Each move may use a part of the 5 % of errors that the climb as a whole may make (climb/climber.cc).
TEST(Race, OfAHundredClimbsAmongEqualArmsFiveAtMostAdoptOne) {
  int all_wrong = 0;
  for (const Noise& noise : kMachines) {
    Track track(noise, 1);
    int wrong = 0;
    for (int climb = 0; climb < 100; ++climb) {
      bool adopted = false;
      for (int move = 0; move < kMostMoves; ++move) {
        const bool is_further = move >= kMostMoves / 2;
        const RaceRules rules = rules_after(is_further ? 1 : 0, {.alpha = kFalseChoice / kMostMoves});
        adopted = track.run(std::vector<double>(is_further ? 3 : 6, 1.0), rules).winner() != 0 || adopted;
      }
      wrong += adopted ? 1 : 0;
    }
    EXPECT_LE(wrong, 9) << "by chance; " << noise.each << " " << noise.disturbed;
    all_wrong += wrong;
  }
  EXPECT_LE(all_wrong, 20) << "of 400";
}

TEST(Race, AnArmThatIsClearlyFasterIsAdopted) {
  for (const Noise& noise : kMachines) {
    Track track(noise, 2);
    const double gain = noise.each < 0.02 && noise.disturbed < 0.1 ? 1.06 : 1.12;
    int found = 0;
    for (int i = 0; i < 100; ++i) found += track.run({1, 0.8, gain, 0.97, 1, 0.6}, {}).winner() == 2 ? 1 : 0;
    EXPECT_GE(found, 85) << noise.each << " " << noise.disturbed;
  }
}

TEST(Race, AnArmThatTakesTwiceTheTimeLeavesAfterARound) {
  Race race(4, {});
  race.add_round({1.0, 2.1, 1.9, 0.97});
  EXPECT_EQ(race.fate(1), ArmFate::behind);
  EXPECT_EQ(race.fate(2), ArmFate::racing);
  EXPECT_FALSE(race.wants(1));
  Race slow_incumbent(2, {});
  slow_incumbent.add_round({2.1, 1.0});
  EXPECT_TRUE(slow_incumbent.wants(0)) << "the incumbent is what others are compared with";
  EXPECT_TRUE(slow_incumbent.wants(1));
  Race alone(2, {});
  alone.add_round({1.0, 2.1});
  EXPECT_TRUE(alone.over());
  EXPECT_EQ(alone.winner(), 0u);
}

// The first race is too short to find this gain, or to exclude it.
TEST(Race, AFurtherRaceFindsASmallGainAndEndsIfThereIsNone) {
  for (const Noise& noise : kMachines) {
    Track track(noise, 7);
    int found = 0, settled = 0;
    for (int i = 0; i < 100; ++i) {
      const RaceRules rules = rules_after(1, {.alpha = kFalseChoice / kMostMoves});
      found += track.run({1, 1.05, 0.99}, rules).winner() == 1 ? 1 : 0;
      const Race equal = track.run({1, 1}, rules);
      settled += equal.fate(1) == ArmFate::no_gain || equal.most_gain(1) <= rules.worth ? 1 : 0;
    }
    EXPECT_GE(found, 85) << noise.each << " " << noise.disturbed;
    EXPECT_GE(settled, 85) << noise.each << " " << noise.disturbed;
  }
}

TEST(Race, AllRacesOfAnAxisTogetherKeepToTheProbabilityOfDroppingTheFastest) {
  double sum = 0;
  for (int64_t earlier = 0; earlier < kMostMoves; ++earlier) sum += rules_after(earlier, {}).drop_alpha;
  EXPECT_LE(sum, RaceRules{}.drop_alpha);
  EXPECT_GT(rules_after(1, {}).looks.back(), rules_after(0, {}).looks.back());
  EXPECT_EQ(rules_after(0, {}).looks, RaceRules{}.looks);
}

TEST(Race, AFurtherRaceGoesOnThoughNoArmIsAhead) {
  Race race(2, rules_after(1, {}));
  for (int i = 0; i < 12; ++i) race.add_round({1.0, i % 2 == 0 ? 1.45 : 0.7});
  EXPECT_FALSE(race.over());
  EXPECT_FALSE(race.is_confirming());
  race.end();
  EXPECT_EQ(race.fate(1), ArmFate::undecided);
  EXPECT_GT(race.most_gain(1), 0.02) << "not excluded";
}

// The budget ends the race between two looks.
TEST(Race, WhenTheBudgetEndsTheConfirmingRoundsDecide) {
  for (const int64_t rounds : {4, 90}) {
    Race race(2, {.looks = {5, 100}});
    race.add_round({1.0, 0.8});
    ASSERT_TRUE(race.confirm_best());
    for (int64_t i = 0; i < rounds; ++i) race.add_round({1.0, i % 2 == 0 ? 0.85 : 1.05});
    ASSERT_FALSE(race.over()) << "the first look tells nothing";
    race.end();
    EXPECT_EQ(race.fate(1), rounds < 5 ? ArmFate::undecided : ArmFate::adopted);
  }
}

// Budgets end races after any number of rounds, which takes no more of the error than the looks do.
TEST(Race, ARaceThatTheBudgetEndsAdoptsEqualArmsNoMoreOften) {
  for (const Noise& noise : kMachines) {
    Track track(noise, 8);
    int wrong = 0;
    for (int i = 0; i < 1000; ++i)
      wrong += track.run({1, 1, 1}, rules_after(1, {.alpha = 0.05}), 1000, 12 + i % 40).winner() != 0 ? 1 : 0;
    EXPECT_LE(wrong, 65) << noise.each << " " << noise.disturbed;
  }
}

TEST(Race, AnArmThatIsSlowerIsNeverAdoptedWithinTheLevel) {
  Track track(kMachines[1], 3);
  int wrong = 0;
  for (int i = 0; i < 400; ++i)
    wrong += track.run({1, 0.99, 0.99, 0.995}, {.alpha = 0.005}).winner() != 0 ? 1 : 0;
  EXPECT_LE(wrong, 4);
}

// The second arm is the incumbent once more (A/A). Beside slower arms it is the one that noise puts ahead
// most often. Beside a faster arm it must not be taken for that one.
TEST(Race, ACopyOfTheIncumbentAmongTheCandidatesIsSeldomAdopted) {
  for (const Noise& noise : kMachines) {
    Track track(noise, 9);
    int beside_slower = 0, beside_faster = 0;
    for (int i = 0; i < 400; ++i) {
      beside_slower += track.run({1, 1, 0.97, 0.9, 0.7}, {.alpha = 0.05}).winner() == 1 ? 1 : 0;
      beside_faster += track.run({1, 1, 1.15, 0.9, 0.7}, {.alpha = 0.05}).winner() == 1 ? 1 : 0;
    }
    EXPECT_LE(beside_slower, 20) << noise.each << " " << noise.disturbed;
    EXPECT_LE(beside_faster, 20) << noise.each << " " << noise.disturbed;
  }
}

TEST(Race, FarBehindTakesFewRounds) {
  const Race race = Track(kMachines[0], 4).run({1, 1.1, 0.5, 0.7}, {});
  EXPECT_EQ(race.winner(), 1u);
  EXPECT_EQ(race.fate(2), ArmFate::behind);
  EXPECT_LE(race.rounds_of(2), 2);
  ASSERT_TRUE(race.gain(1));
  EXPECT_NEAR(race.gain(1)->ratio, 1.1, 0.03);
  EXPECT_EQ(race.gain(1)->n, 5) << "the confirming rounds alone";
}

TEST(Race, AnArmWithoutAFigureIsOutAndAnIncumbentWithoutEndsTheRace) {
  Race race(3, {});
  race.add_round({1.0, std::nullopt, 1.0});
  EXPECT_EQ(race.fate(1), ArmFate::failed);
  EXPECT_FALSE(race.wants(1));
  EXPECT_TRUE(race.wants(2));
  race.add_round({std::nullopt, std::nullopt, 1.0});
  EXPECT_TRUE(race.over());
  EXPECT_EQ(race.fate(0), ArmFate::failed);
  EXPECT_EQ(race.winner(), 0u);
}

TEST(Race, WhatTheBudgetEndsIsUndecidedAndTheIncumbentStays) {
  Race race(2, {});
  race.add_round({1.0, 0.9});
  race.end();
  EXPECT_EQ(race.winner(), 0u);
  EXPECT_EQ(race.fate(1), ArmFate::undecided);
  EXPECT_NEAR(race.most_gain(1), 1 / 0.9 - 1, 1e-9);
}

TEST(Race, AShortenedScreeningConfirmsTheBestInNewRounds) {
  Race race(4, {});
  race.leave_out(3);
  race.add_round({1.0, 0.9, 0.8, std::nullopt});
  EXPECT_EQ(race.fate(3), ArmFate::undecided) << "it was not asked to run";
  EXPECT_EQ(race.rounds_to_decision(), 1);
  EXPECT_TRUE(race.confirm_best());
  EXPECT_TRUE(race.is_confirming());
  EXPECT_FALSE(race.confirm_best()) << "once";
  EXPECT_FALSE(race.wants(1));
  EXPECT_EQ(race.fate(1), ArmFate::undecided);
  EXPECT_EQ(race.rounds_to_decision(), 5);
  for (const double noise : {1.0, 1.001, 0.999, 1.002, 0.998})
    race.add_round({noise, std::nullopt, 0.85, std::nullopt});
  EXPECT_TRUE(race.over());
  EXPECT_EQ(race.winner(), 2u);
  EXPECT_NEAR(race.gain(2)->ratio, 1 / 0.85, 0.005) << "not of the round that chose it";
}

TEST(Race, NothingIsConfirmedThatIsNotAheadOrHasNotRun) {
  Race race(3, {});
  EXPECT_FALSE(race.confirm_best());
  race.add_round({1.0, 1.1, 1.2});
  EXPECT_FALSE(race.confirm_best());
  race.leave_out(1);
  EXPECT_FALSE(race.over());
  race.leave_out(2);
  EXPECT_TRUE(race.over()) << "no arm is left";
  EXPECT_EQ(race.winner(), 0u);
}

// Where one process runs all arms of a round, its first one may be faster, for example because its memory is
// fresh. The driver changes the order with each round, so this is noise of the round and no gain of an arm.
TEST(Race, AFasterPlaceInAProcessIsNoGain) {
  std::mt19937 random(6);
  std::normal_distribution<double> noise(0, 0.001);
  int wrong = 0;
  for (int move = 0; move < 200; ++move) {
    Race race(6, {.alpha = kFalseChoice / kMostMoves});
    for (int64_t round = 0; !race.over(); ++round) {
      std::vector<std::optional<double>> seconds(6);
      bool is_first = true;
      for (const int i : round_order(round, 6)) {
        const size_t arm = static_cast<size_t>(i);
        if (!race.wants(arm)) continue;
        seconds[arm] = std::exp(noise(random) - (is_first ? 0.03 : 0));
        is_first = false;
      }
      race.add_round(seconds);
    }
    wrong += race.winner() != 0 ? 1 : 0;
  }
  EXPECT_LE(wrong, 10);
}

// All arms do the same work on this machine, so they differ by its noise alone, whatever distribution that
// has. Of 100 races that may each err with a probability of 5 %, more than 12 err once in a thousand times.
TEST(Race, EqualArmsOnThisMachineAreSeldomAdopted) {
  std::vector<float> values(1 << 13, 2.0f);
  const auto step = [&] {
    const double begin = seconds();
    for (int repeat = 0; repeat < 4; ++repeat)
      for (float& value : values) value = 0.5f * value + 1.0f;
    return seconds() - begin;
  };
  int wrong = 0;
  for (int move = 0; move < 100; ++move) {
    Race race(6, {.alpha = kFalseChoice});
    for (int64_t round = 0; !race.over(); ++round) {
      std::vector<std::optional<double>> medians(6);
      for (const int i : round_order(round, 6)) {
        if (!race.wants(static_cast<size_t>(i))) continue;
        std::vector<double> steps(5);
        std::generate(steps.begin(), steps.end(), step);
        medians[static_cast<size_t>(i)] = median_of(steps);
      }
      race.add_round(medians);
    }
    wrong += race.winner() != 0 ? 1 : 0;
  }
  EXPECT_EQ(values.front(), 2.0f) << "the work was done";
  EXPECT_LE(wrong, 12);
}

// A small budget leaves one round for the choice and five to confirm it.
TEST(Race, AShortenedScreeningAdoptsEqualArmsNoMoreOften) {
  for (const Noise& noise : kMachines) {
    Track track(noise, 5);
    int wrong = 0;
    for (int i = 0; i < 1000; ++i)
      wrong += track.run(std::vector<double>(6, 1.0), {.alpha = 0.05}, 1).winner() != 0 ? 1 : 0;
    EXPECT_LE(wrong, 65) << noise.each << " " << noise.disturbed;
  }
}

}  // namespace
}  // namespace moehill
