// Waiting for an atomic to change: spin for a short while, then sleep in the kernel.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moehill {

inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 50 us of spinning: longer than a hand-over between busy threads, short enough that an idle team does
// not disturb another team on the same cores.
inline constexpr int kSpins = 4000;

// A thread without a core of its own may keep one from the thread that it waits for: five ranks on two cores
// are two to four times faster so.
constexpr int num_spins(bool has_own_core) { return has_own_core ? kSpins : kSpins / 80; }

// Returns the first value seen that is not `old`.
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
