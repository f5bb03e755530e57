// Implementation of store/expectation.h: a parser by recursive descent, one method for each rule of the
// grammar:
//
//     expectation = "ratio(" conditions ")" relation number [ "at" conditions ]
//     conditions  = axis "=" value { "," axis "=" value }
#include "moehill/store/expectation.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// Returns the number that the whole text is; nothing for "8x", which is a text and not the number 8.
std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Parser reads one expectation. position_ is where it is in the text.
class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Expectation parse() {
    Expectation result;
    if (word() != "ratio") refuse("ratio(...)");
    expect('(');
    split(conditions(), result);
    expect(')');
    result.relation = relation();
    const std::optional<double> threshold = as_number(word());
    if (!threshold) refuse("a number");
    result.threshold = *threshold;
    if (at_end()) return result;
    if (word() != "at") refuse("at, or nothing more");
    result.at = conditions();
    if (!at_end()) refuse("nothing more");
    return result;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    throw input_error("expect", "'" + text_ + "'",
                      fmt::format("{} before character {}", expected, position_ + 1),
                      "write it as \"ratio(topk = 8, topk = 2) >= 1.5 at parallel_mode = ep\"");
  }

  void skip_blanks() {
    while (position_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[position_])) != 0)
      ++position_;
  }
  bool at_end() {
    skip_blanks();
    return position_ == text_.size();
  }
  bool take(char c) {
    skip_blanks();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(std::string(1, c));
  }

  // Takes a word and returns it; "" if there is none.
  std::string word() {
    skip_blanks();
    const size_t begin = position_;
    const auto is_part = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::string("_.+-:/").find(c) != std::string::npos;
    };
    while (position_ < text_.size() && is_part(text_[position_])) ++position_;
    return text_.substr(begin, position_ - begin);
  }

  // Takes a value, with or without quotes. A quoted value may contain any character but its quote.
  std::string value() {
    for (const char quote : {'"', '\''}) {
      if (!take(quote)) continue;
      const size_t end = text_.find(quote, position_);
      if (end == std::string::npos) refuse("a closing quote");
      const std::string inside = text_.substr(position_, end - position_);
      position_ = end + 1;
      return inside;
    }
    const std::string bare = word();
    if (bare.empty()) refuse("a value");
    return bare;
  }

  std::vector<AxisValue> conditions() {
    std::vector<AxisValue> list;
    do {
      const std::string axis = word();
      if (axis.empty()) refuse("an axis");
      expect('=');
      list.push_back({axis, value()});
    } while (take(','));
    return list;
  }

  // Splits the list where an axis is named again: the denominator begins there.
  void split(const std::vector<AxisValue>& list, Expectation& result) const {
    const auto same_axis = [&](const AxisValue& condition) { return condition.axis == list[0].axis; };
    const auto second = std::find_if(list.begin() + 1, list.end(), same_axis);
    if (second == list.end()) refuse("a second value of " + list[0].axis + ", where the denominator begins,");
    result.numerator.assign(list.begin(), second);
    result.denominator.assign(second, list.end());
  }

  // Words are tried in the order of the enum, in which ">=" comes before ">".
  Relation relation() {
    skip_blanks();
    for (const Relation relation : all_values<Relation>()) {
      const std::string_view name = name_of(relation);
      if (text_.compare(position_, name.size(), name) != 0) continue;
      position_ += name.size();
      return relation;
    }
    refuse(">=, <=, > or <");
  }

  const std::string& text_;
  size_t position_ = 0;
};

}  // namespace

Expectation parse_expectation(const std::string& text) { return Parser(text).parse(); }

bool is_met(const Expectation& expectation, double ratio) {
  switch (expectation.relation) {
    case Relation::at_least:
      return ratio >= expectation.threshold;
    case Relation::at_most:
      return ratio <= expectation.threshold;
    case Relation::above:
      return ratio > expectation.threshold;
    case Relation::below:
      return ratio < expectation.threshold;
  }
  return false;
}

bool matches(const std::vector<AxisValue>& wanted, const StoredJson& axes) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const AxisValue& condition) {
    const auto axis = axes.find(condition.axis);
    if (axis == axes.end()) return false;
    const std::string text = value_text(*axis);
    const std::optional<double> a = as_number(text), b = as_number(condition.value);
    // Numbers are compared by value: 8 and 8.0 are one value of an axis.
    return text == condition.value || (a && b && *a == *b);
  });
}

std::string value_text(const StoredJson& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

}  // namespace moehill
