// Short names of options: they mean the same, and a value is not taken from the next option.
#include "moehill/cli/option_set.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

struct Values {
  int64_t bytes = 8, iters = 5;
};

Values parsed(const std::vector<std::string>& args) {
  Values values;
  OptionSet set("moehill test", "", {});
  set.size("--min-bytes", &values.bytes, 1, int64_t{1} << 30, "");
  set.integer("--iters", &values.iters, 1, 100, "");
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
                                             {"--min-bytes=64K", "-n", "7"}}) {
    EXPECT_EQ(parsed(args).bytes, 65536);
    EXPECT_EQ(parsed(args).iters, 7);
  }
  EXPECT_EQ(parsed({}).bytes, 8);
  EXPECT_EQ(parsed({"-n", "3", "--iters", "4"}).iters, 4);  // the last one counts
}

TEST(OptionSet, AShortNameNeedsAValueOfItsOwn) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-b"}, {"-b", "-n", "5"}, {"-b", "--iters", "5"}}) {
    EXPECT_NE(refusal(args).find("--min-bytes: got no value"), std::string::npos) << refusal(args);
  }
  EXPECT_NE(refusal({"--min-bytes", "-n", "5"}).find("--min-bytes: got no value"), std::string::npos);
}

TEST(OptionSet, ErrorsNameTheLongOption) {
  EXPECT_NE(refusal({"-n", "x"}).find("--iters: got 'x'"), std::string::npos) << refusal({"-n", "x"});
  EXPECT_NE(refusal({"-q", "5"}).find("unknown option"), std::string::npos) << refusal({"-q", "5"});
}

}  // namespace
}  // namespace moehill
