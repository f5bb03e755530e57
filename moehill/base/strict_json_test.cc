#include "moehill/base/strict_json.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

nlohmann::json parse(const std::string& text) { return parse_strict_json(text, {"file", "write it anew"}); }

std::string json_refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::string nested(int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += R"({"a":)";
  return text + "1" + std::string(static_cast<size_t>(depth), '}');
}

TEST(StrictJson, ReadsAnObject) {
  const nlohmann::json json = parse(R"( {"a": [1, {"a": -2.5}], "b": {"a": "ü", "c": {}}, "c": null} )");
  EXPECT_EQ(json["a"][1]["a"], -2.5);
  EXPECT_EQ(json["b"]["a"], "ü");
  EXPECT_EQ(parse(nested(32)).size(), 1u);
}

TEST(StrictJson, RefusesWhatTheLibraryAloneTakes) {
  EXPECT_NE(json_refusal(R"({"a": 1, "b": 2, "a": 3})").find("'a' twice in one object"), std::string::npos);
  EXPECT_NE(json_refusal(R"({"x": [{"a": {"b": 1}, "c": [], "a": 3}]})").find("'a' twice"),
            std::string::npos);
  EXPECT_NE(json_refusal(std::string("{\"a\": 1}\0more", 13)).find("NUL"), std::string::npos);
  EXPECT_NE(json_refusal(nested(33)).find("more than 32 deep"), std::string::npos);
  EXPECT_NE(json_refusal("{\"a\":" + std::string(1 << 20, '[')).find("more than 32 deep"), std::string::npos);
}

// Returns an object of so many names.
std::string with_names(int num) {
  std::string text;
  for (int i = 0; i < num; ++i) text += fmt::format("{}\"{}\": 0", i == 0 ? "{" : ", ", i);
  return text + "}";
}

// An ordered object looks through all of its names for each new one.
TEST(StrictJson, RefusesAnOrderedObjectThatWouldTakeHours) {
  const JsonSource source{"file", "write it anew"};
  EXPECT_EQ(parse_strict_json<nlohmann::ordered_json>(with_names(5000), source).size(), 5000u);
  try {
    parse_strict_json<nlohmann::ordered_json>(with_names(20000), source);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(" names, allowed: some thousands"), std::string::npos)
        << error.what();
  }
  // The names of a model's tensors, which are not kept in order, may be more.
  EXPECT_EQ(parse(with_names(20000)).size(), 20000u);
}

// A checkpoint's header has an object for each tensor, and a big model has many.
TEST(StrictJson, TakesVeryManyObjects) {
  std::string text = "{\"a\": [{}";
  for (int i = 1; i < 200000; ++i) text += ", {}";
  EXPECT_EQ(parse(text + "]}")["a"].size(), 200000u);
}

TEST(StrictJson, NamesTheMarkThatNobodySees) {
  for (const std::string text : {"\xef\xbb\xbf{}", "\xff\xfe{", "\xfe\xff{"}) {
    for (const JsonForm form : {JsonForm::object, JsonForm::any}) {
      try {
        parse_strict_json(text, {"file", "write it anew"}, form);
        ADD_FAILURE() << text;
      } catch (const InputError& error) {
        EXPECT_EQ(std::string(error.what()).rfind("file: got a byte order mark in front, allowed: ", 0), 0u)
            << error.what();
      }
    }
  }
}

TEST(StrictJson, SaysWhatIsWrongInOneLine) {
  for (const std::string text :
       {"", "  ", "[1]", "7", "{", "{\"a\": }", "{\"a\": 1} x", "{\"a\": nan}", "{\"a\": \"\xff\"}",
        "{\"a\": 01}", "{a: 1}", "{\"a\": 1,}", "{\"a\": \"\\ud800\"}", "\xef\xbb\xbf{}", "/**/{}"}) {
    const std::string error = json_refusal(text);
    EXPECT_EQ(error.find("file: got "), 0u) << text << ": " << error;
    EXPECT_NE(error.find("allowed: "), std::string::npos) << error;
    EXPECT_NE(error.find("; write it anew"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace moehill
