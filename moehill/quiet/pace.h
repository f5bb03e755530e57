// Pace: how long something will last, said once, by how long its first part took.
#pragma once

#include <functional>
#include <string>

#include "moehill/machine/clock.h"

namespace moehill {

// The two ways to tell whoever watches a command: a line in the place of the one before ("" clears it), and
// one that stays.
struct Watcher {
  std::function<void(const std::string&)> show = [](const std::string&) {};
  std::function<void(const std::string&)> tell = [](const std::string&) {};
};

// Less than this needs no announcement.
inline constexpr double kWorthTelling_s = 10;

// "about 40 s: 12 points x 5 rounds"; empty for what is soon over.
std::string estimate_words(double seconds, const std::string& what);

class Pace {
 public:
  // total: of everything, in any unit. A watcher's `tell` gets the estimate as soon as a part of it, which
  // took kLeastPart_s at least, is done, if all of it takes kWorthTelling_s.
  Pace(double total, std::string what, std::function<void(const std::string&)> tell,
       std::function<double()> clock = seconds)
      : total_(total),
        what_(std::move(what)),
        tell_(std::move(tell)),
        clock_(std::move(clock)),
        begin_(clock_()) {}

  void done(double amount);

  static constexpr double kLeastPart_s = 0.3;

 private:
  double total_, done_ = 0;
  std::string what_;
  std::function<void(const std::string&)> tell_;
  std::function<double()> clock_;
  double begin_;
  bool told_ = false;
};

}  // namespace moehill
