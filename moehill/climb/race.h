// Race decides which of several arms is the fastest, by interleaved rounds and with as few runs as the noise
// allows. The first arm is the incumbent, which stays unless another arm is shown to be faster. Race runs
// nothing: the caller reports seconds.
//
// Screening: all arms run in each round. An arm leaves if it is clearly behind the best arm, or if it cannot
// be faster than the incumbent by as much as RaceRules::worth. One round suffices for an arm that takes
// kHopelessTimes as long as the best one.
// Confirming: the best challenger and the incumbent run in new rounds, which had no part in the choice. The
// challenger is adopted if the interval of its speed there excludes the incumbent's.
// Another race may take the arms that this one leaves open, by rules_after().
//
//     Race race(num_arms, {.worth = 0.02});
//     while (!race.over()) race.add_round(seconds_of_arms(race));   // [arm]; empty: the arm failed
//     race.winner(), race.gain(1)->ratio;
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/bench/statistics.h"

namespace moehill {

// Runs of one round differ by far less than this by chance (race_test.cc has the noise of known machines).
inline constexpr double kHopelessTimes = 2;

// RaceRules are the tolerances of a race.
struct RaceRules {
  double worth = 0.02;   // smaller gains in speed are not looked for
  double alpha = 0.005;  // probability of adopting an arm that is not faster
  // Probability of dropping the fastest arm, over all arms and rounds of the screening.
  double drop_alpha = 0.05;
  // Rounds of the screening: no arm but a hopeless one is dropped before least_screening. From
  // enough_screening on, the best arm is confirmed if it is ahead of the incumbent. After most_screening the
  // race ends though none is ahead.
  int64_t least_screening = 2, enough_screening = 6, most_screening = 6;
  std::vector<int64_t> looks = {5, 10, 15};  // confirming rounds after which the race may end
};

// Returns the rules of a race between arms that so many races before it have left open. Such a race goes on
// for many more rounds. Each race has half of the drop_alpha of the one before it, and the first one half of
// `rules`, so that all of them together keep to it.
RaceRules rules_after(int64_t earlier, RaceRules rules);

// ArmFate is what became of an arm.
enum class ArmFate {
  racing,
  incumbent,
  behind,
  no_gain,
  failed,
  not_faster,
  not_confirmed,
  undecided,
  adopted
};
constexpr auto words(ArmFate) {
  return std::array{"in the race",
                    "incumbent",
                    "dropped: clearly slower than the fastest",
                    "dropped: cannot gain enough",
                    "out: no figure that a check has passed",
                    "not faster",
                    "best of the screening, not confirmed",
                    "not decided within the budget",
                    "adopted"};
}
// Returns true if a race that has ended did not decide about the arm. Its gain then says what is excluded.
constexpr bool is_open(ArmFate fate) {
  return fate == ArmFate::undecided || fate == ArmFate::not_faster || fate == ArmFate::not_confirmed;
}

// Race keeps the seconds of all arms.
class Race {
 public:
  Race(size_t num_arms, RaceRules rules);

  bool over() const { return over_; }
  // Returns true if the arm runs in the next round.
  bool wants(size_t arm) const;
  // Takes the seconds of each arm that the round wanted; empty: the arm is out. An incumbent that is out ends
  // the race.
  void add_round(const std::vector<std::optional<double>>& seconds);
  // Ends the race without further rounds. The confirming rounds so far decide, if there are enough for a
  // look; it takes the place of the next look. Otherwise arms that are still in the race stay undecided.
  void end();
  // The arm runs no more, and stays undecided.
  void leave_out(size_t arm);
  // Ends the screening early: the best so far and the incumbent go on to the confirming rounds, other arms
  // stay undecided. Returns false, and changes nothing, where no arm is ahead of the incumbent.
  bool confirm_best();
  bool is_confirming() const { return challenger_.has_value(); }
  // Returns the fewest rounds after which something may be decided.
  int64_t rounds_to_decision() const;

  size_t winner() const { return winner_; }
  int64_t rounds() const { return rounds_; }
  int64_t rounds_of(size_t arm) const { return static_cast<int64_t>(logs_[arm].size()); }
  ArmFate fate(size_t arm) const { return fates_[arm]; }
  // Returns the speed of an arm over another one's, by default the incumbent's, with its interval of 95 %.
  // The ratio is from the confirming rounds if both arms have any, since the choice does not bias these,
  // otherwise from the screening. It is empty if the two have no common round.
  std::optional<Ratio> gain(size_t arm, size_t over = 0) const;
  // Returns the most that the arm can gain: the upper end of its interval, or its middle if there is no
  // interval.
  double most_gain(size_t arm, size_t over = 0) const;

 private:
  void screen();
  void drop();
  void drop_hopeless();
  void confirm();
  void look();
  void finish(size_t winner, ArmFate of_challenger);
  std::vector<double> differences(size_t arm, size_t over, size_t first, size_t last) const;
  std::vector<size_t> racing() const;
  std::optional<size_t> fastest_racing() const;

  RaceRules rules_;
  std::vector<int64_t> screening_looks_;   // rounds of the screening after which arms may be dropped
  std::vector<std::vector<double>> logs_;  // [arm][round] logarithms of seconds
  std::vector<ArmFate> fates_;
  int64_t rounds_ = 0, screened_ = 0;
  std::optional<size_t> challenger_;  // set in the confirming rounds
  size_t winner_ = 0;
  bool over_ = false;
};

// MeanBound is the mean of a sample with the half width of its one-sided interval, by Student's t. From eight
// values on, an eighth of them is cut off at each end (Yuen's trimmed t), because rounds may be disturbed.
struct MeanBound {
  double mean = 0, half = 0;  // half: infinite for a single value
};
MeanBound mean_bound(std::vector<double> values, double tail);

}  // namespace moehill
