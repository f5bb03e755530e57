// Implements strict_json.h in two passes: the first one refuses what must not be in the text, and the second
// one reads it.
#include "moehill/base/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <type_traits>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

constexpr int kMaxJsonDepth = 32;
// An ordered object of the library compares each new name with all that it has. This many comparisons take
// less than a second. One object may then have 14,000 names, and many objects may have thousands each.
constexpr size_t kMostComparisons = 100'000'000;

// The JSON library tells the parts of a text to this class before any value is built. The class refuses deep
// nesting, repeated names and what is no JSON. It is no callback of Json::parse(): with a callback, the
// library looks at the end of each object through all values beside it, which takes hours for a million
// objects.
template <typename Json>
class Guard final : public nlohmann::json_sax<Json> {
 public:
  explicit Guard(const JsonSource& source) : source_(source) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(typename Json::number_integer_t) override { return true; }
  bool number_unsigned(typename Json::number_unsigned_t) override { return true; }
  bool number_float(typename Json::number_float_t, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(typename Json::binary_t&) override { return true; }
  bool start_object(size_t) override { return open(); }
  bool start_array(size_t) override { return open(); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool key(std::string& name) override {
    take_name(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    throw input_error(source_.what, quoted(words_of(error), 120), "valid JSON", source_.remedy);
  }

 private:
  bool open() {
    names_.emplace_back();
    if (names_.size() <= kMaxJsonDepth) return true;
    throw input_error(source_.what, fmt::format("objects nested more than {} deep", kMaxJsonDepth),
                      fmt::format("at most {} levels", kMaxJsonDepth), source_.remedy);
  }
  bool end() {
    names_.pop_back();
    return true;
  }
  void take_name(const std::string& name) {
    ++num_names_;
    if constexpr (std::is_same_v<Json, nlohmann::ordered_json>) comparisons_ += names_.back().size();
    if (comparisons_ > kMostComparisons)
      throw input_error(source_.what, fmt::format("objects with together at least {} names", num_names_),
                        "some thousands of names in an object, or fewer if there are very many objects",
                        source_.remedy);
    if (names_.back().insert(name).second) return;
    throw input_error(source_.what, quoted(name) + " twice in one object", "each name once", source_.remedy);
  }

  const JsonSource& source_;
  // One set for each open object or array; the set of an array stays empty.
  std::vector<std::set<std::string>> names_;
  size_t num_names_ = 0;    // in all objects
  size_t comparisons_ = 0;  // that the library makes of names
};

}  // namespace

std::string words_of(const nlohmann::json::exception& error) {
  const std::string message = error.what();
  const size_t begin = message.find("] ");
  return message.substr(begin == std::string::npos ? 0 : begin + 2);
}

template <typename Json>
Json parse_strict_json(std::string_view text, const JsonSource& source, JsonForm form) {
  // This looks first for three faults that the library does not report as such: a mark that some editors
  // write in front and nobody sees, a text that is no object, and a NUL, at which the library would stop as
  // if the text ended there.
  for (const char* mark : {"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"}) {
    if (text.starts_with(mark))
      throw input_error(source.what, "a byte order mark in front", "JSON in UTF-8 without such a mark",
                        source.remedy);
  }
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (form == JsonForm::object && (first == std::string_view::npos || text[first] != '{')) {
    const std::string got =
        first == std::string_view::npos ? "nothing" : quoted(std::string(text.substr(first, 8)));
    throw input_error(source.what, got, "a JSON object, which begins with {", source.remedy);
  }
  if (text.find('\0') != std::string_view::npos)
    throw input_error(source.what, "a NUL character", "JSON text", source.remedy);
  Guard<Json> guard(source);
  Json::sax_parse(text.begin(), text.end(), &guard);
  return Json::parse(text.begin(), text.end());
}

template nlohmann::json parse_strict_json(std::string_view, const JsonSource&, JsonForm);
template nlohmann::ordered_json parse_strict_json(std::string_view, const JsonSource&, JsonForm);

}  // namespace moehill
