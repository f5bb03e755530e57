// Tests copies past the caches at every alignment, and that another thread sees the whole copy.
#include "moehill/machine/past_caches.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace moehill {
namespace {

TEST(PastCaches, CopiesAnyBytesAndNothingElse) {
  std::vector<unsigned char> from(700), to(900);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(1 + i % 251);
  for (const size_t source : {0, 1, 17}) {
    for (size_t target = 0; target < 130; target += 3) {
      for (const size_t bytes : {0, 1, 15, 63, 64, 65, 127, 128, 300, 641}) {
        std::fill(to.begin(), to.end(), 0);
        copy_past_caches(to.data() + target, from.data() + source, bytes);
        for (size_t i = 0; i < to.size(); ++i) {
          const bool copied = i >= target && i < target + bytes;
          ASSERT_EQ(to[i], copied ? from[source + i - target] : 0) << source << " " << target << " " << bytes;
        }
      }
    }
  }
}

TEST(PastCaches, IsSeenByWhoeverSynchronises) {
  constexpr size_t kBytes = 1 << 16;
  std::vector<unsigned char> from(kBytes), to(kBytes);
  for (int round = 1; round < 20; ++round) {
    std::fill(from.begin(), from.end(), static_cast<unsigned char>(round));
    std::atomic<bool> done = false;
    std::thread writer([&] {
      copy_past_caches(to.data(), from.data(), kBytes);
      done.store(true, std::memory_order_release);
    });
    while (!done.load(std::memory_order_acquire)) std::this_thread::yield();
    EXPECT_EQ(to, from);
    writer.join();
  }
}

}  // namespace
}  // namespace moehill
