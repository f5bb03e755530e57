#include "moehill/bench/stage_clock.h"

#include <algorithm>
#include <utility>

namespace moehill {

StageClock::StageClock(int num_stages, std::function<double()> clock)
    : clock_(std::move(clock)), seconds_(num_stages), visits_(num_stages) {
  intervals_.reserve(kKept);
}

void StageClock::restart() {
  std::fill(seconds_.begin(), seconds_.end(), 0.0);
  std::fill(visits_.begin(), visits_.end(), 0);
  intervals_.clear();
  num_dropped_ = 0;
  current_ = kIdle;
}

void StageClock::enter(int stage) {
  const double now = clock_();
  close(now);
  current_ = stage;
  begin_ = now;
  ++visits_[stage];
}

void StageClock::finish() { close(clock_()); }

// The sums include every interval, also the intervals for which the list has no more room.
void StageClock::close(double now) {
  if (current_ == kIdle) return;
  seconds_[current_] += now - begin_;
  if (intervals_.size() < kKept) {
    intervals_.push_back({current_, begin_, now});
  } else {
    ++num_dropped_;
  }
  current_ = kIdle;
}

}  // namespace moehill
