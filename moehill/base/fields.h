// A struct's fields are the name, help text and range of each of its members, written once beside the struct.
// Command-line options, records and JSON all take them from there, so that they cannot disagree.
//
// A struct has fields if it defines a static fields() that calls visit(Field, member) for each member, in the
// order in which a record shows them. A visitor then declares an option for each member (cli/option_set.h),
// writes or reads JSON (base/json_fields.h), or checks ranges (RangeCheck):
//
//   struct Shape {
//     int64_t tokens = 64;
//     template <typename Self, typename Visit>
//     static void fields(Self& self, Visit&& visit) {
//       visit(Field{"tokens", "tokens of the batch", 1, kMaxDimension}, self.tokens);
//     }
//   };
//   Shape::fields(shape, RangeCheck{});  // throws InputError if tokens is out of range
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "moehill/base/error.h"

namespace moehill {

// Field describes one member. lo and hi are inclusive; with lo == hi the number has no range.
struct Field {
  const char* name;  // as a record spells it, with _; its option has - instead
  const char* help = "";
  double lo = 0, hi = 0;  // the range, for numbers only
  bool applies = true;    // false: the field has no meaning for this value, so a record shows null
  bool present = true;    // false: a record leaves the field out altogether
};

// Told marks a value that is not a member: fields() makes it from members before the visit, and sets the
// members from it afterwards. Records show it, for example as text. No option is declared for it.
template <typename T>
struct Told {
  T& value;
};
template <typename T>
Told(T&) -> Told<T>;

// Visits members that need nothing but a name. The arguments are names and members in turn: visit_all(visit,
// "hits", self.hits, "misses", self.misses).
template <typename Visit, typename T, typename... Rest>
void visit_all(Visit& visit, const char* name, T& value, Rest&&... rest) {
  visit(Field{name}, value);
  if constexpr (sizeof...(rest) > 0) visit_all(visit, rest...);
}

// AnyField accepts any field and does nothing. HasFields uses it to ask whether a type has fields().
struct AnyField {
  template <typename T>
  void operator()(const Field&, T&&) const {}
};
template <typename T>
concept HasFields = requires(const T& value) {
  T::fields(value, AnyField{});
};

// RangeCheck is a visitor that throws InputError if a number is outside of its field's range.
struct RangeCheck {
  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if constexpr (std::is_arithmetic_v<T>) {
      if (field.lo < field.hi &&
          !(field.lo <= static_cast<double>(value) && static_cast<double>(value) <= field.hi))
        throw input_error(field.name, fmt::format("{}", value),
                          fmt::format("{:g} to {:g}", field.lo, field.hi), "correct it");
    }
  }
};

// The largest size of a dimension: row and column indices have 32 bits.
inline constexpr double kMaxDimension = 2147483647;
// The largest seed: the random number generator (base/rng.h) takes a key of 32 bits.
inline constexpr double kMaxSeed = 4294967295;

// Returns the command-line option of a field: "mlp_dim" gives "--mlp-dim".
inline std::string option_name(std::string_view field) {
  std::string name = "--" + std::string(field);
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return name;
}

}  // namespace moehill
