// Naps: waiting asleep, with a look now and then, so that the core is left to others. For waits outside of a
// clock, since they end late, by a third of their length at most.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace moehill {

class Naps {
 public:
  using Duration = std::chrono::microseconds;
  static constexpr Duration kShortest{250};
  static constexpr Duration kLongest{10'000};

  // Each nap is longer than the one before, up to `longest`: a look costs a core some 20 us.
  explicit Naps(Duration longest = kLongest) : longest_(longest) {}

  void take() {
    std::this_thread::sleep_for(next_);
    next_ = std::min(next_ + next_ / 2, longest_);
  }

 private:
  Duration longest_, next_ = kShortest;
};

// Returns when whoever began to wait before is asleep: threads spin for 50 to 300 us, and the processes of a
// job that leave a barrier by naps of the shortest length do so at two or three looks.
inline void let_others_fall_asleep() { std::this_thread::sleep_for(4 * Naps::kShortest); }

}  // namespace moehill
