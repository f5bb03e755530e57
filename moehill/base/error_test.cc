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
  for (const std::string& what : {std::string("--topk"), text}) {
    const std::string message = input_error(what, text, "1 to 8", "use 8").what();
    EXPECT_LE(message.size(), 500u);
    EXPECT_TRUE(message.ends_with("x..., allowed: 1 to 8; use 8")) << message;
  }
  // A name of a file may be in any part of a message.
  EXPECT_LE(std::string(input_error(text, text, text, text).what()).size(), 1300u);
  EXPECT_LE(std::string(usage_error(text, "leave it out").what()).size(), 500u);
  EXPECT_TRUE(std::string(usage_error(text, "leave it out").what()).ends_with("x...; leave it out"));
}

TEST(InputError, APlaceIsShortInFrontOfTheMessage) {
  EXPECT_STREQ(error_at("a.toml:3", "--topk: got 9").what(), "a.toml:3: --topk: got 9");
  const std::string text(100000, 'x');
  const InputError inner = input_error("--topk", text, "8", "use 8");
  const std::string message = error_at("a.toml:3: point " + text, inner.what()).what();
  EXPECT_LE(message.size(), 630u);
  EXPECT_EQ(message.rfind("a.toml:3: point xxx", 0), 0u) << message;
  EXPECT_TRUE(message.ends_with("; use 8")) << message;
}

TEST(InputError, CutsNoCharacterInTwo) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "\u00fc";
  for (const std::string remedy : {"use 8", "use 88"}) {
    const std::string message = input_error("--topk", text, "1 to 8", remedy).what();
    const size_t end = message.find("...");
    ASSERT_NE(end, std::string::npos);
    EXPECT_EQ(message.substr(end - 2, 2), "\u00fc") << message;
  }
}

TEST(InputError, ShortPartsLeaveTheirRoomToTheOthers) {
  const std::string place(250, 'p'), list(250, 'l');
  EXPECT_NE(std::string(input_error(place, "5", "1 to 8", "use 8").what()).find(place + ": got 5,"),
            std::string::npos);
  EXPECT_NE(std::string(input_error("--topk", list, "1 to 8", "use 8").what()).find("got " + list + ", "),
            std::string::npos);
}

TEST(CheckDeathTest, ABrokenInvariantEndsTheProgramAndSaysWhich) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  MOEHILL_CHECK(1 + 1 == 2, "never printed {}", 0);
  EXPECT_DEATH(MOEHILL_CHECK(1 + 1 == 3, "the sum is {}", 2), "'1 \\+ 1 == 3' broken: the sum is 2");
}

}  // namespace
}  // namespace moehill
