// Tests what a terminal shows: colours, widths and words.
#include "moehill/base/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

// A title of the window by ESC ], a bell, and U+009B, which xterm takes for ESC [.
constexpr const char* kHostileText = "passed\x1b]0;x\x07\t\r\xc2\x9b\x7f\n";

// Shows the text on a stream of its own and returns what arrived there.
std::string arrived(const std::string& text) {
  std::FILE* const file = std::tmpfile();
  show(text, file);
  std::rewind(file);
  std::string bytes(200, '\0');
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
  std::fclose(file);
  return bytes;
}

TEST(Terminal, NothingThatIsShownIsObeyedButItsOwnColours) {
  EXPECT_EQ(arrived(kHostileText), "passed?]0;x?????\n");
  EXPECT_EQ(arrived("50 \xc2\xb5s, \xe2\x80\x93 \xf0\x9f\x98\x80\n"),
            "50 \xc2\xb5s, \xe2\x80\x93 \xf0\x9f\x98\x80\n");
  choose_colour(Colour::always);
  EXPECT_EQ(arrived(kHostileText), "\033[32mpassed\033[0m?]0;x?????\n");
  choose_colour(Colour::automatic);
}

// A terminal of ten columns: nine bytes are four and a half of these letters.
TEST(Terminal, ALineOfProgressEndsInAWholeLetter) {
  int ours = -1, theirs = -1;
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 10;
  ASSERT_EQ(openpty(&ours, &theirs, nullptr, nullptr, &size), 0);
  const int before = dup(STDERR_FILENO);
  setenv("TERM", "xterm", 1);
  dup2(theirs, STDERR_FILENO);
  show_progress("\u00fc\u00fc\u00fc\u00fc\u00fc");
  show_progress("");
  dup2(before, STDERR_FILENO);
  close(before);
  std::string shown;
  char buffer[64];
  const std::string cleared = "\r\033[K", expected = cleared + "\u00fc\u00fc\u00fc\u00fc" + cleared;
  while (shown.size() < expected.size()) {
    const ssize_t n = ::read(ours, buffer, sizeof buffer);
    if (n <= 0) break;
    shown.append(buffer, static_cast<size_t>(n));
  }
  close(theirs);
  close(ours);
  EXPECT_EQ(shown, expected);
}

TEST(Table, TheBeginningOfATextHasWholeCharacters) {
  EXPECT_EQ(beginning_of("abc", 3), "abc");
  EXPECT_EQ(beginning_of("abcd", 3), "abc");
  EXPECT_EQ(beginning_of("ab\u00fc", 3), "ab");
  EXPECT_EQ(beginning_of("\U0001f600", 3), "");
  EXPECT_EQ(quoted("ab\u00fc", 3), "'ab...'");
}

TEST(Table, PrintableTextHasNoControlCharacters) {
  EXPECT_EQ(printable(kHostileText), "passed?]0;x??????");
  EXPECT_EQ(printable("a\xc2\x80\xc2\x9f\xc2\xa0z"), "a??\xc2\xa0z");
  EXPECT_EQ(printable("\x9bK \xc4\x9b"), "?K \xc4\x9b") << "a byte that continues nothing";
  EXPECT_EQ(printable("a\n\x1b", ' ', "\n"), "a\n ");
  EXPECT_EQ(quoted("a\x1b\xc2\x9bKz"), "'a??Kz'");
}

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

TEST(Table, OneHasTheSingular) {
  EXPECT_EQ(count_text(1, "round"), "1 round");
  EXPECT_EQ(count_text(0, "round"), "0 rounds");
  EXPECT_EQ(count_text(2, "leaf switch", "leaf switches"), "2 leaf switches");
  EXPECT_EQ(count_text(1, "leaf switch", "leaf switches"), "1 leaf switch");
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
