// Tests sizes in bytes (which texts are read, which are refused, and the text that a size becomes) and the
// parts of a text.
#include "moehill/base/parse.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr int64_t kTiB = int64_t{1} << 40;

TEST(ParseSize, ReadsDigitsWithOrWithoutASuffix) {
  const auto parsed = [](const char* text) { return parse_size("-b", text, 0, kTiB); };
  EXPECT_EQ(parsed("8"), 8);
  EXPECT_EQ(parsed("0"), 0);
  EXPECT_EQ(parsed("64K"), 65536);
  EXPECT_EQ(parsed("64k"), 65536);
  EXPECT_EQ(parsed("1M"), 1 << 20);
  EXPECT_EQ(parsed("3g"), int64_t{3} << 30);
  EXPECT_EQ(parsed("1024G"), kTiB);
}

TEST(Split, KeepsEmptyParts) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(split("a,,b,", ','), (Parts{"a", "", "b", ""}));
  EXPECT_EQ(split("a", ','), Parts{"a"});
  EXPECT_EQ(split("", ','), Parts{""});
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text : {"", "K", "1KB", "1KiB", "1.5M", "-1", "+1", " 1", "1 ", "1T", "0x10", "1e3", "1,2",
                           "1025G", "9223372036854775807G", "9223372036854775808", "18446744073709551617K"}) {
    EXPECT_THROW(parse_size("-b", text, 0, kTiB), InputError) << text;
  }
}

TEST(ParseSize, HoldsItsBoundsAndNamesThem) {
  EXPECT_EQ(parse_size("-b", "64K", 65536, 65536), 65536);
  for (const char* text : {"63K", "65K", "65535", "65537"}) {
    try {
      parse_size("--min-bytes", text, 65536, 65536);
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      const std::string message = error.what();
      for (const char* part : {"--min-bytes", text, "bytes from 64K to 64K"}) {
        EXPECT_NE(message.find(part), std::string::npos) << message;
      }
    }
  }
}

TEST(SizeText, IsShortAndReadsBack) {
  EXPECT_EQ(size_text(0), "0");
  EXPECT_EQ(size_text(1023), "1023");
  EXPECT_EQ(size_text(1536), "1536");
  EXPECT_EQ(size_text(65536), "64K");
  EXPECT_EQ(size_text(kTiB), "1024G");
  for (const int64_t bytes : {int64_t{1}, int64_t{1024}, int64_t{3} << 20, (int64_t{1} << 30) + 1024}) {
    EXPECT_EQ(parse_size("-b", size_text(bytes), 0, kTiB), bytes);
  }
}

}  // namespace
}  // namespace moehill
