#include "moehill/base/error.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(InputError, SaysWhatGotAllowedAndRemedy) {
  const InputError error = input_error("--topk", "9", "1 to 8", "use --topk 8");
  EXPECT_STREQ(error.what(), "--topk: got 9, allowed: 1 to 8; use --topk 8");
}

TEST(InputError, IsShortHoweverLongTheInput) {
  const std::string text(100000, 'x');
  EXPECT_LT(std::string(input_error(text, text, "1 to 8", "use 8").what()).size(), 700u);
}

TEST(CheckDeathTest, ABrokenInvariantEndsTheProgramAndSaysWhich) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  MOEHILL_CHECK(1 + 1 == 2, "never printed {}", 0);
  EXPECT_DEATH(MOEHILL_CHECK(1 + 1 == 3, "the sum is {}", 2), "'1 \\+ 1 == 3' broken: the sum is 2");
}

}  // namespace
}  // namespace moehill
