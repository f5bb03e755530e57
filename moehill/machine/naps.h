// Naps are a wait that sleeps and looks now and then, so that the core is free for other threads. A wait ends
// late by up to a third of its length, so do not use naps inside anything that is timed; spin_wait.h is for
// that.
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

// Sleeps until threads that began to wait earlier are asleep. Threads spin for 50 to 300 us before they sleep
// (machine/spin_wait.h). Processes of a job that leave a barrier by naps of the shortest length leave it at
// their second or third look.
inline void let_others_fall_asleep() { std::this_thread::sleep_for(4 * Naps::kShortest); }

}  // namespace moehill
