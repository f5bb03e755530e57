// Implementation of climb/race.h. All figures are means of logarithms, so that ratios of speeds become
// differences.
#include "moehill/climb/race.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moehill/base/error.h"

namespace moehill {
namespace {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Residual is the standard deviation of one run if arms and rounds have effects of their own (a randomised
// block design), and its degrees of freedom. All arms have the same rounds.
struct Residual {
  double deviation = 0, degrees = 0;
};
Residual residual_of(const std::vector<const std::vector<double>*>& arms) {
  const size_t rounds = arms.front()->size();
  std::vector<double> by_round(rounds, 0.0);
  for (const std::vector<double>* arm : arms) {
    const double mean = mean_of(*arm);
    for (size_t r = 0; r < rounds; ++r) by_round[r] += ((*arm)[r] - mean) / static_cast<double>(arms.size());
  }
  double squares = 0;
  for (const std::vector<double>* arm : arms) {
    const double mean = mean_of(*arm);
    for (size_t r = 0; r < rounds; ++r) squares += std::pow((*arm)[r] - mean - by_round[r], 2);
  }
  const double degrees = static_cast<double>((arms.size() - 1) * (rounds - 1));
  return {std::sqrt(squares / degrees), degrees};
}

// Returns after which rounds the screening looks at its arms: after each one at first, and later each time
// that half as many again have run. All looks share one probability of a wrong drop, so there are few.
std::vector<int64_t> screening_looks(const RaceRules& rules) {
  std::vector<int64_t> looks;
  for (int64_t n = rules.least_screening; n <= rules.most_screening;
       n += n < rules.enough_screening ? 1 : std::max<int64_t>(1, n / 2))
    looks.push_back(n);
  return looks;
}

bool contains(const std::vector<int64_t>& looks, int64_t rounds) {
  return std::find(looks.begin(), looks.end(), rounds) != looks.end();
}

}  // namespace

RaceRules rules_after(int64_t earlier, RaceRules rules) {
  rules.drop_alpha = std::ldexp(rules.drop_alpha, -static_cast<int>(earlier) - 1);
  if (earlier == 0) return rules;
  rules.most_screening = 211;  // the last of its looks (screening_looks())
  rules.looks = {5, 10, 20, 40, 80, 160};
  return rules;
}

MeanBound mean_bound(std::vector<double> values, double tail) {
  const size_t n = values.size(), cut = n / 8, kept = n - 2 * cut;
  MOEHILL_CHECK(n > 0, "mean of no values");
  std::sort(values.begin(), values.end());
  const std::vector<double> inner(values.begin() + static_cast<ptrdiff_t>(cut),
                                  values.end() - static_cast<ptrdiff_t>(cut));
  if (kept < 2) return {mean_of(inner), std::numeric_limits<double>::infinity()};
  // For the deviation, the values that were cut off are replaced by the nearest ones kept ("winsorised").
  for (size_t i = 0; i < cut; ++i) {
    values[i] = inner.front();
    values[n - 1 - i] = inner.back();
  }
  const double middle = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  const double degrees = static_cast<double>(kept - 1);
  const double error = std::sqrt(squares / (static_cast<double>(kept) * degrees));
  return {mean_of(inner), student_quantile(degrees, tail) * error};
}

Race::Race(size_t num_arms, RaceRules rules)
    : rules_(std::move(rules)),
      screening_looks_(screening_looks(rules_)),
      logs_(num_arms),
      fates_(num_arms, ArmFate::racing) {
  MOEHILL_CHECK(num_arms > 0, "race of no arms");
  fates_[0] = ArmFate::incumbent;
  over_ = num_arms == 1;
}

bool Race::wants(size_t arm) const {
  if (over_) return false;
  if (challenger_) return arm == 0 || arm == *challenger_;
  return arm == 0 || fates_[arm] == ArmFate::racing;
}

std::vector<size_t> Race::racing() const {
  std::vector<size_t> arms;
  for (size_t i = 1; i < fates_.size(); ++i)
    if (fates_[i] == ArmFate::racing) arms.push_back(i);
  return arms;
}

// Returns the fastest of the racing arms that have run.
std::optional<size_t> Race::fastest_racing() const {
  std::optional<size_t> first;
  for (const size_t i : racing())
    if (!logs_[i].empty() && (!first || mean_of(logs_[i]) < mean_of(logs_[*first]))) first = i;
  return first;
}

void Race::add_round(const std::vector<std::optional<double>>& seconds) {
  MOEHILL_CHECK(!over_ && seconds.size() == logs_.size(), "a round of {} arms", seconds.size());
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (!wants(i)) continue;
    if (seconds[i]) {
      logs_[i].push_back(std::log(*seconds[i]));
    } else {
      fates_[i] = ArmFate::failed;
    }
  }
  ++rounds_;
  if (fates_[0] == ArmFate::failed) {
    over_ = true;
  } else if (challenger_) {
    confirm();
  } else {
    screen();
  }
}

// Drops the arms that are clearly behind the best one, and those that cannot gain enough.
void Race::drop() {
  const auto wanted = [&](size_t i) { return i == 0 || fates_[i] == ArmFate::racing; };
  std::vector<const std::vector<double>*> arms;
  size_t best = 0;
  for (size_t i = 0; i < logs_.size(); ++i) {
    if (!wanted(i)) continue;
    arms.push_back(&logs_[i]);
    if (mean_of(logs_[i]) < mean_of(logs_[best])) best = i;
  }
  const Residual residual = residual_of(arms);
  // The probability of a wrong drop is divided over all looks and arms (Bonferroni).
  const double tail =
      rules_.drop_alpha / static_cast<double>(screening_looks_.size()) / static_cast<double>(logs_.size());
  const double half = student_quantile(residual.degrees, tail) * residual.deviation *
                      std::sqrt(2.0 / static_cast<double>(rounds_));
  const double of_best = mean_of(logs_[best]), of_incumbent = mean_of(logs_[0]);
  for (const size_t i : racing()) {
    const double mean = mean_of(logs_[i]);
    if (i != best && mean - of_best > half)
      fates_[i] = ArmFate::behind;
    else if (of_incumbent - mean + half < std::log1p(rules_.worth))
      fates_[i] = ArmFate::no_gain;
  }
}

void Race::drop_hopeless() {
  double fastest = logs_[0].back();
  for (const size_t i : racing()) fastest = std::min(fastest, logs_[i].back());
  for (const size_t i : racing())
    if (logs_[i].back() - fastest > std::log(kHopelessTimes)) fates_[i] = ArmFate::behind;
}

void Race::screen() {
  const bool is_look = contains(screening_looks_, rounds_), is_last = rounds_ >= rules_.most_screening;
  if (rounds_ < rules_.least_screening) drop_hopeless();
  if (is_look && !racing().empty()) drop();
  const std::vector<size_t> left = racing();
  if (left.empty()) return finish(0, ArmFate::not_faster);
  const bool enough =
      rounds_ >= rules_.enough_screening || (left.size() == 1 && rounds_ > rules_.least_screening);
  if (!is_last && !(is_look && enough)) return;
  const size_t first = *fastest_racing();
  const bool faster = mean_of(logs_[first]) < mean_of(logs_[0]);
  if (!faster && !is_last) return;
  for (const size_t i : left) fates_[i] = i == first && faster ? ArmFate::racing : ArmFate::not_faster;
  if (!faster) return finish(0, ArmFate::not_faster);
  challenger_ = first;
  screened_ = rounds_;
}

void Race::confirm() {
  const size_t arm = *challenger_;
  if (fates_[arm] == ArmFate::failed) return finish(0, ArmFate::failed);
  if (contains(rules_.looks, rounds_ - screened_)) look();
}

void Race::look() {
  const size_t arm = *challenger_;
  // Only rounds after the screening count, since the rounds of the screening chose the arm.
  const std::vector<double> gains =
      differences(arm, 0, static_cast<size_t>(screened_), static_cast<size_t>(rounds_));
  // Several looks at the data raise the chance of a wrong adoption, so each look has its share of alpha.
  const MeanBound strict = mean_bound(gains, rules_.alpha / static_cast<double>(rules_.looks.size()));
  const MeanBound usual = mean_bound(gains, (1 - kCoverage) / 2);
  if (strict.mean - strict.half > 0) return finish(arm, ArmFate::adopted);
  const bool hopeless = usual.mean + usual.half < std::log1p(rules_.worth);
  if (hopeless || rounds_ - screened_ >= rules_.looks.back()) finish(0, ArmFate::not_confirmed);
}

void Race::finish(size_t winner, ArmFate of_challenger) {
  winner_ = winner;
  over_ = true;
  if (challenger_) fates_[*challenger_] = of_challenger;
}

void Race::end() {
  if (!over_ && challenger_ && rounds_ - screened_ >= rules_.looks.front()) look();
  if (over_) return;
  for (const size_t i : racing()) fates_[i] = ArmFate::undecided;
  over_ = true;
}

void Race::leave_out(size_t arm) {
  if (over_ || arm == 0 || fates_[arm] != ArmFate::racing) return;
  fates_[arm] = ArmFate::undecided;
  if (racing().empty()) over_ = true;
}

bool Race::confirm_best() {
  const std::optional<size_t> first = fastest_racing();
  if (over_ || challenger_ || !first || mean_of(logs_[*first]) >= mean_of(logs_[0])) return false;
  for (const size_t i : racing())
    if (i != *first) fates_[i] = ArmFate::undecided;
  challenger_ = first;
  screened_ = rounds_;
  return true;
}

int64_t Race::rounds_to_decision() const {
  if (!challenger_) return std::max<int64_t>(1, rules_.least_screening - rounds_);
  const int64_t confirmed = rounds_ - screened_;
  for (const int64_t look : rules_.looks)
    if (look > confirmed) return look - confirmed;
  return 1;
}

std::vector<double> Race::differences(size_t arm, size_t over, size_t first, size_t last) const {
  std::vector<double> gains;
  for (size_t r = first; r < last; ++r) gains.push_back(logs_[over][r] - logs_[arm][r]);
  return gains;
}

std::optional<Ratio> Race::gain(size_t arm, size_t over) const {
  const size_t rounds = std::min(logs_[arm].size(), logs_[over].size()),
               screened = static_cast<size_t>(screened_);
  if (rounds == 0) return std::nullopt;
  const std::vector<double> gains =
      differences(arm, over, challenger_ && rounds > screened ? screened : 0, rounds);
  const MeanBound bound = mean_bound(gains, (1 - kCoverage) / 2);
  Ratio ratio{std::exp(bound.mean), static_cast<int64_t>(gains.size()), {}};
  if (ratio.n >= kMinRounds)
    ratio.interval = {std::exp(bound.mean - bound.half), std::exp(bound.mean + bound.half), kCoverage};
  return ratio;
}

double Race::most_gain(size_t arm, size_t over) const {
  const std::optional<Ratio> ratio = gain(arm, over);
  if (!ratio) return 0;
  return (ratio->interval ? ratio->interval->hi : ratio->ratio) - 1;
}

}  // namespace moehill
