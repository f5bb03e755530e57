// Naps: waits for something by sleeping and looking at it now and then, so that the core is free for others.
// A wait ends late by up to a third of its length, so do not use naps inside anything that is timed;
// spin_wait.h is for that.
//
//   for (Naps naps; !file_is_there();) naps.take();
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

  // Each nap is half as long again as the one before, up to `longest`, because each look costs about 20 us of
  // a core.
  explicit Naps(Duration longest = kLongest) : longest_(longest) {}

  void take() {
    std::this_thread::sleep_for(next_);
    next_ = std::min(next_ + next_ / 2, longest_);
  }

 private:
  Duration longest_, next_ = kShortest;
};

// Returns when threads that began to wait earlier have gone to sleep. Threads spin for 50 to 300 us before
// they sleep (machine/spin_wait.h), and processes of a job that leave a barrier by naps of the shortest
// length do so at their second or third look.
inline void let_others_fall_asleep() { std::this_thread::sleep_for(4 * Naps::kShortest); }

}  // namespace moehill
