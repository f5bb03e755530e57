#include "moehill/base/json_fields.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(JsonFields, ALineIsWrittenWhateverBytesAreInIt) {
  const Json json = {{"path", "a\xff.json"}, {"n", 1}};
  EXPECT_EQ(json_line(json), "{\"path\":\"a\xef\xbf\xbd.json\",\"n\":1}\n");
}

TEST(JsonFields, JsonForATerminalHasNoControlCharacters) {
  const Json json = {{"a\x7f",
                      "\x1b[31m \u00fc \xc2\x9b"
                      "31m \xc2\x80"}};
  const std::string calm = calm_json(json_line(json));
  EXPECT_EQ(calm, "{\"a\\u007f\":\"\\u001b[31m \u00fc \\u009b31m \\u0080\"}\n");
  EXPECT_EQ(Json::parse(calm), json);
}

TEST(JsonFields, AnIntegerFitsItsType) {
  EXPECT_TRUE(is_integer_of<int>(Json(2147483647)));
  EXPECT_TRUE(is_integer_of<int64_t>(Json(INT64_MIN)));
  EXPECT_TRUE(is_integer_of<uint64_t>(Json(UINT64_MAX)));
  for (const Json& json : {Json(2147483648), Json(-2147483649), Json(UINT64_MAX), Json(1e300), Json(2.5),
                           Json(2.0), Json("2"), Json(true), Json(nullptr), Json::array({2})})
    EXPECT_FALSE(is_integer_of<int>(json)) << json;
  EXPECT_FALSE(is_integer_of<int64_t>(Json(UINT64_MAX)));
  EXPECT_FALSE(is_integer_of<uint64_t>(Json(-1)));
}

}  // namespace
}  // namespace moehill
