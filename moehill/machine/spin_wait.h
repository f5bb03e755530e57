// This header waits for an atomic to change: it spins for a short while, then sleeps in the kernel. It is for
// waits inside a step, where every microsecond counts; other waits use machine/naps.h.
//
//   // the waiter                                    // the other thread
//   wait_while_equal(flag, 0, num_spins(true));      flag.store(1); flag.notify_all();
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moehill {

// Tells the CPU that this loop waits, so that it saves energy and leaves more to its other hyperthread.
inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// These are about 50 us of spinning. That is longer than a hand-over between two busy threads, and short
// enough that an idle team does not disturb another team on the same cores.
inline constexpr int kSpins = 4000;

// Returns how often to spin. A thread without a core of its own spins little, because it may keep the core
// from the very thread that it waits for: with five ranks on two cores, steps are two to four times faster
// that way.
constexpr int num_spins(bool has_own_core) { return has_own_core ? kSpins : kSpins / 80; }

// Waits until `value` is not `old` and returns the value seen. The thread that changes the value must call
// notify_one() or notify_all(), since the waiter may be asleep.
inline uint32_t wait_while_equal(const std::atomic<uint32_t>& value, uint32_t old, int num_spins) {
  for (int i = 0; i < num_spins; ++i) {
    const uint32_t seen = value.load(std::memory_order_acquire);
    if (seen != old) return seen;
    cpu_pause();
  }
  while (true) {
    value.wait(old, std::memory_order_acquire);
    const uint32_t seen = value.load(std::memory_order_acquire);
    if (seen != old) return seen;
  }
}

}  // namespace moehill
