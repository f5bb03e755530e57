// This header pins the calling thread to one logical CPU, so that its caches stay warm and measurements do
// not move between cores. It does not choose the CPU; machine/topology.h says which CPUs there are.
//
//   const PinScope pin(topology.core_cpus[0]);   // until the end of the scope
#pragma once

#include <pthread.h>
#include <sched.h>

namespace moehill {

// This value stands in place of the number of a logical CPU: the thread may run anywhere.
inline constexpr int kAnyCpu = -1;

// Pins the calling thread to `cpu`. Returns false if the system refuses, for example because the CPU is
// outside of the process's set, and for kAnyCpu, because `set` is then empty. The thread then keeps its
// affinity, which is slower but correct. Threads that a pinned thread starts inherit its CPU.
inline bool pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

// PinScope pins the calling thread while the object lives and restores its affinity afterwards, so that
// threads started later do not all inherit one CPU.
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
