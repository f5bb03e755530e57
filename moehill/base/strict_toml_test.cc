#include "moehill/base/strict_toml.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(StrictToml, RefusesWhatIsNestedDeep) {
  for (const std::string& text : {"a = " + repeat("[", 65), repeat("[", 30000), "a = " + repeat("{a = ", 65),
                                  "[" + repeat("a.", 65) + "b]", repeat("a.", 65) + "b = 1",
                                  repeat("\"a\".", 65) + "b = 1", "\n\na = '''\n'''\nb = " + repeat("[", 65),
                                  "a = [\"\"\"x\"\"\"\", {" + repeat("a.", 65) + "a = 1}, \"y\"]",
                                  "a = ['''x'''', {" + repeat("a.", 65) + "a = 1}, 'y']",
                                  "a = ['''x''''', {" + repeat("a.", 65) + "a = 1}, 'y']",
                                  "a = " + repeat("{a.b.c = ", 22), "a = [1.5, " + repeat("[{a.b = ", 22)})
    EXPECT_THROW(refuse_deep_toml(text, "x.toml"), InputError) << text.substr(0, 40);
  try {
    refuse_deep_toml("a = '''\n\n'''\nb = " + repeat("[", 65), "x.toml");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()).rfind("x.toml:4: got values nested more than 64 deep", 0), 0u)
        << error.what();
  }
}

TEST(StrictToml, TakesEverythingElse) {
  for (const std::string& text :
       {std::string(), "a = " + repeat("[", 64), "a = \"" + repeat("[", 100) + "\"",
        "a = '" + repeat("[", 100) + "'", "a = \"\\\"" + repeat("[", 100) + "\"",
        "a = \"\"\"" + repeat("[\n", 100) + "\"\"\"", "a = ['''x'''', '" + repeat("[", 100) + "']",
        "a = ['''x''''', '" + repeat("[", 100) + "']", "# " + repeat("[", 100) + "\na = 1",
        "a = [" + repeat("1.5, ", 100) + "2.5]", repeat("[a.b]\nc.d = 1.5\n", 100),
        "a = " + repeat("{a.b.c = ", 21), "a = [" + repeat("{a.b.c = 1.5}, ", 100) + "]",
        repeat("a.b = [\n{ c.d = 1.5 },\n]\n", 100), repeat("]", 100) + repeat("[", 64),
        std::string("a = \"not ended"), std::string("a = '''not ended")})
    EXPECT_NO_THROW(refuse_deep_toml(text, "x.toml")) << text.substr(0, 40);
}

}  // namespace
}  // namespace moehill
