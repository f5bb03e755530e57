// Refusal of a shape that does not fit.
#include "moehill/measure/memory_check.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr double kGiB = 1 << 30;

TEST(MemoryCheck, NinetyPercentFit) {
  EXPECT_NO_THROW(refuse_too_much_memory({{"weights", 5 * kGiB}, {"x", 4 * kGiB}},
                                         static_cast<int64_t>(10 * kGiB) + 1000));
}

TEST(MemoryCheck, MoreIsRefusedWithItsParts) {
  try {
    refuse_too_much_memory({{"weights", 8 * kGiB}, {"x", 1.5 * kGiB}}, static_cast<int64_t>(10 * kGiB));
    FAIL();
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const char* part : {"9.50 GiB", "weights 8.00 GiB", "x 1.50 GiB", "at most 9.00 GiB", "--tokens"}) {
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace moehill
