// Tests of the ways to write options: a short name means the same as the long one, a value is never taken
// from the next option, a flag has no value, and no option is given twice.
#include "moehill/cli/option_set.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

struct Values {
  int64_t bytes = 8, iters = 5;
  bool quick = false;
};

Values parsed(const std::vector<std::string>& args) {
  Values values;
  OptionSet set("moehill test", "", {});
  set.size("--min-bytes", &values.bytes, 1, int64_t{1} << 30, "");
  set.integer("--iters", &values.iters, 1, 100, "");
  set.flag("--quick", &values.quick, "");
  set.shorten("--min-bytes", 'b');
  set.shorten("--iters", 'n');
  set.parse(args);
  return values;
}

std::string refusal(const std::vector<std::string>& args) {
  try {
    parsed(args);
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(OptionSet, ShortAndLongNamesMeanTheSame) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-b", "64K", "-n", "7"},
                                             {"--min-bytes", "64K", "--iters", "7"},
                                             {"--min-bytes=64K", "-n", "7"},
                                             {"-b64K", "-n=7"}}) {
    EXPECT_EQ(parsed(args).bytes, 65536);
    EXPECT_EQ(parsed(args).iters, 7);
  }
  EXPECT_EQ(parsed({}).bytes, 8);
}

// A default may come from a variable of the environment.
TEST(OptionSet, AHelpHasNoControlCharacters) {
  std::string file = "a\x1b[31m";
  OptionSet set("moehill test", "", {});
  set.text("--file", &file, "FILE", "");
  testing::internal::CaptureStdout();
  EXPECT_FALSE(set.parse({"--help"}));
  const std::string shown = testing::internal::GetCapturedStdout();
  EXPECT_NE(shown.find("a?[31m"), std::string::npos) << shown;
  EXPECT_EQ(shown.find('\x1b'), std::string::npos);
}

TEST(OptionSet, AShortNameNeedsAValueOfItsOwn) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-b"}, {"-b", "-n", "5"}, {"-b", "--iters", "5"}}) {
    EXPECT_EQ(refusal(args).rfind("-b: got no value, allowed: ", 0), 0u) << "as typed: " << refusal(args);
  }
  EXPECT_NE(refusal({"--min-bytes", "-n", "5"}).find("--min-bytes: got no value"), std::string::npos);
}

TEST(OptionSet, ErrorsNameTheLongOption) {
  EXPECT_NE(refusal({"-n", "x"}).find("--iters: got 'x'"), std::string::npos) << refusal({"-n", "x"});
  EXPECT_NE(refusal({"-q", "5"}).find("unknown option"), std::string::npos) << refusal({"-q", "5"});
}

TEST(OptionSet, TheHelpThatARefusalNamesCanBeTyped) {
  for (const char* command : {"moehill test", "moehill test FILE", "moehill test [note EXPERIMENT TEXT]"}) {
    OptionSet set(command, "", {});
    try {
      set.parse({"--nope"});
      ADD_FAILURE() << "accepted";
    } catch (const InputError& error) {
      EXPECT_STREQ(error.what(),
                   "unknown option: got '--nope', allowed: the options of moehill test; "
                   "see moehill test --help");
    }
  }
}

TEST(OptionSet, AFlagHasNoValue) {
  EXPECT_TRUE(parsed({"--quick"}).quick);
  EXPECT_FALSE(parsed({}).quick);
  for (const char* value : {"0", "1", "true", "false", "abc", ""}) {
    EXPECT_EQ(refusal({std::string("--quick=") + value}),
              fmt::format("--quick: got '{}', allowed: no value, since it is a flag; write --quick alone, or "
                          "leave it out",
                          value));
  }
  EXPECT_NE(refusal({"--quick", "0"}).find("stray argument: got '0'"), std::string::npos);
}

TEST(OptionSet, NothingIsGivenTwice) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-n", "3", "--iters", "4"}, {"-n", "3", "-n3"}}) {
    EXPECT_EQ(refusal(args), "--iters is given twice; leave one of them out");
  }
  EXPECT_NE(refusal({"--quick", "--quick"}).find("--quick is given twice"), std::string::npos);
}

TEST(OptionSet, WhatIsReadIsNoOutput) {
  const auto is_refused = [](const std::string& option, const std::string& value) {
    std::string json;
    OptionSet set("moehill test", "", {});
    set.output("--json", &json, "FILE", "");
    for (const std::string range : {"NAME|FILE", "random|trace:FILE[,gates=FILE]", "NUMBER"})
      set.custom("--" + range.substr(0, 4), range, "", "", [](const std::string&) {});
    try {
      set.parse({option, value, "--json", "out"});
      return false;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("which are one"), std::string::npos) << error.what();
      return true;
    }
  };
  EXPECT_TRUE(is_refused("--NAME", "out"));
  EXPECT_TRUE(is_refused("--NAME", "./out"));
  EXPECT_TRUE(is_refused("--rand", "trace:out"));
  EXPECT_TRUE(is_refused("--rand", "trace:other,gates=out"));
  EXPECT_FALSE(is_refused("--NAME", "other"));
  EXPECT_FALSE(is_refused("--NUMB", "out"));
}

}  // namespace
}  // namespace moehill
