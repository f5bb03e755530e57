// Pace: says once how long something will last, from how long its first part took.
#pragma once

#include <functional>
#include <string>

#include "moehill/machine/clock.h"

namespace moehill {

// A watcher of a command is told in two ways: show() replaces the line that was shown before ("" clears it),
// and tell() prints a line that stays.
struct Watcher {
  std::function<void(const std::string&)> show = [](const std::string&) {};
  std::function<void(const std::string&)> tell = [](const std::string&) {};
};

// What takes less than this is not announced.
inline constexpr double kWorthTelling_s = 10;

// Returns "about 40 s: 12 points x 5 rounds", or nothing for what is soon over.
std::string estimate_words(double seconds, const std::string& what);

class Pace {
 public:
  // `total` is the amount of all work, in any unit. `tell` gets the estimate once the work that is done took
  // kLeastPart_s or more, and only if all of it will take at least kWorthTelling_s.
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
