// Tests what a terminal shows: colours, widths and words.
#include "moehill/base/terminal.h"

#include <gtest/gtest.h>

#include "moehill/base/table.h"

namespace moehill {
namespace {

TEST(Terminal, PaintsVerdictsAndNothingElse) {
  EXPECT_EQ(painted("check passed"), "check \033[32mpassed\033[0m");
  EXPECT_EQ(painted("3 failed, within noise"), "3 \033[31mfailed\033[0m, \033[33mwithin noise\033[0m");
  for (const char* plain : {"0 failed", "retry-failed", "faster_than", "unpassed", "--not-slower", ""})
    EXPECT_EQ(painted(plain), plain);
  EXPECT_EQ(painted("10 failed"), "10 \033[31mfailed\033[0m");
}

TEST(Table, WrapsBehindBlanksBarsAndCommas) {
  const std::string word(30, 'w');
  EXPECT_EQ(wrapped("short", 4), "short");
  EXPECT_EQ(wrapped(word + " " + word + "|" + word + "," + word, 4),
            word + " " + word + "|" + word + ",\n    " + word);
  EXPECT_EQ(wrapped(word + " " + word, 4, 60), word + "\n    " + word);
  EXPECT_EQ(wrapped(std::string(150, 'w'), 4), std::string(150, 'w'));
}

TEST(Table, LayoutsAndInstructionsInWords) {
  EXPECT_EQ(layout_words(2, 1), "2 devices x 1 thread");
  EXPECT_EQ(layout_words(1, 16), "1 device x 16 threads");
  EXPECT_EQ(instruction_words("AVX3"), "AVX-512");
  EXPECT_EQ(instruction_words("AVX3_ZEN4"), "AVX-512_ZEN4");
  EXPECT_EQ(instruction_words("AVX2"), "AVX2");
}

}  // namespace
}  // namespace moehill
