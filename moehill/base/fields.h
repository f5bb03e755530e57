// Fields: what options and records need to know of a struct's members, said once beside them.
//
// A struct has fields where
//   template <typename Self, typename Visit> static void fields(Self& self, Visit&& visit);
// calls visit(Field, member) for each of them, in the order of a record. A visitor declares an option
// (cli/option_set.h), writes or reads JSON (base/json_fields.h), or looks a field up.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "moehill/base/error.h"

namespace moehill {

struct Field {
  const char* name;  // in a record; an option has - for _
  const char* help = "";
  double lo = 0, hi = 0;  // of a number
  bool applies = true;    // a record has null where the field means nothing,
  bool present = true;    // and leaves it out where it is not even asked for
};

// A value that fields() makes of members and takes back after the visit: text in a record, no option's
// variable.
template <typename T>
struct Told {
  T& value;
};
template <typename T>
Told(T&) -> Told<T>;

// Names and members in turn, for those of which there is no more to say.
template <typename Visit, typename T, typename... Rest>
void visit_all(Visit& visit, const char* name, T& value, Rest&&... rest) {
  visit(Field{name}, value);
  if constexpr (sizeof...(rest) > 0) visit_all(visit, rest...);
}

struct AnyField {
  template <typename T>
  void operator()(const Field&, T&&) const {}
};
template <typename T>
concept HasFields = requires(const T& value) {
  T::fields(value, AnyField{});
};

// Throws InputError for a number outside of its field's range.
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

inline constexpr double kMaxDimension = 2147483647;  // of a shape; indices have 32 bits
inline constexpr double kMaxSeed = 4294967295;

inline std::string option_name(std::string_view field) {
  std::string name = "--" + std::string(field);
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return name;
}

}  // namespace moehill
