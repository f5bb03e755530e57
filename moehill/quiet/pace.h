// Pace announces once how long some work will last, judged by how long its first part took. It is no progress
// bar: Watcher::show() is for that.
//
//     Pace pace(12, "12 points x 5 rounds", watcher.tell);
//     for (int i = 0; i < 12; ++i) measure(i), pace.done(1);
//     // prints once: "about 40 s: 12 points x 5 rounds"
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "moehill/machine/clock.h"

namespace moehill {

// Watcher is told of a command's progress in two ways. show() replaces the line that was shown before (""
// clears it), and tell() prints a line that stays.
struct Watcher {
  std::function<void(const std::string&)> show = [](const std::string&) {};
  std::function<void(const std::string&)> tell = [](const std::string&) {};
};

// Work that takes less than this is not announced.
inline constexpr double kWorthTelling_s = 10;

// Returns "12 points x 5 rounds".
std::string points_and_rounds(size_t points, int64_t rounds);

// Returns "about 40 s: 12 points x 5 rounds", or nothing if the work is soon over.
std::string estimate_words(double seconds, const std::string& what);

// Pace counts work that is done and speaks once.
class Pace {
 public:
  // `total` is the amount of all work, in any unit. `tell` gets the estimate once the work done took at least
  // kLeastPart_s, and only if all of it will take at least kWorthTelling_s.
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
