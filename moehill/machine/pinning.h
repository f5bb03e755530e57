// Pinning: the calling thread held on one logical CPU.
#pragma once

#include <pthread.h>
#include <sched.h>

namespace moehill {

// In place of a logical CPU: the thread is not held on one.
inline constexpr int kAnyCpu = -1;

// Returns whether the system agreed. A refusal (a CPU outside the process's set) leaves the thread unpinned,
// which is slower and still right. Threads that a pinned thread starts inherit its CPU.
inline bool pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

// Pins the calling thread for a scope and puts its affinity back, so that threads started later do not all
// inherit one CPU.
class PinScope {
 public:
  explicit PinScope(int cpu) {
    pinned_ = pthread_getaffinity_np(pthread_self(), sizeof before_, &before_) == 0 && pin_this_thread(cpu);
  }
  ~PinScope() {
    if (pinned_) (void)pthread_setaffinity_np(pthread_self(), sizeof before_, &before_);
  }
  PinScope(const PinScope&) = delete;
  PinScope& operator=(const PinScope&) = delete;

 private:
  cpu_set_t before_;
  bool pinned_ = false;
};

}  // namespace moehill
