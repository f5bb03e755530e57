// Tests that a shape that does not fit is refused.
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

MemoryNeed need(const std::string& node, double gib, double node_gib, double process_gib = 1e9) {
  return {node,
          "weights",
          gib * kGiB,
          0,
          static_cast<int64_t>(node_gib * kGiB),
          static_cast<int64_t>(process_gib * kGiB)};
}

TEST(MemoryCheck, EachProcessIsHeldToItsOwnNodeAndItsOwnLimits) {
  EXPECT_EQ(memory_fault({need("large", 40, 100), need("large", 40, 100), need("small", 8, 10)}), "");
  const auto expect = [](const std::vector<MemoryNeed>& needs, const std::vector<const char*>& words) {
    const std::string fault = memory_fault(needs);
    for (const char* word : words) EXPECT_NE(fault.find(word), std::string::npos) << word << ": " << fault;
  };
  expect({need("large", 40, 100), need("large", 40, 100), need("small", 9.5, 10)},
         {"on small up to rank 2", "got 9.50 GiB", "at most 9.00 GiB"});
  expect({need("large", 40, 100), need("small", 5, 10), need("small", 5, 10)},
         {"on small up to rank 2", "got 10.00 GiB"});
  expect({need("large", 40, 100), need("large", 40, 100, 30)}, {"rank 1", "the limit of its process"});
  MemoryNeed addresses = need("large", 26, 100, 30);
  EXPECT_EQ(memory_fault({addresses}), "");
  addresses.blas_bytes = 2 * kGiB;
  expect({addresses}, {"2.00 GiB of addresses for BLAS"});
}

}  // namespace
}  // namespace moehill
