// An enum's words are the names of its values, written once beside the enum. Options, help texts, records and
// tables take them from there.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>

namespace moehill {

// An enum has words if its values count from 0 and a function words(E) beside it returns their names in that
// order:
//   enum class Pass { forward, forward_backward };
//   constexpr auto words(Pass) { return std::array{"forward", "forward_backward"}; }
template <typename E>
concept HasWords = std::is_enum_v<E> && requires(E value) {
  words(value).size();
};

// kNumWords is the number of values of the enum.
template <HasWords E>
inline constexpr size_t kNumWords = words(E{}).size();

// Returns the word of a value. Throws std::out_of_range if it is no value of the enum.
template <HasWords E>
constexpr const char* name_of(E value) {
  return words(value).at(static_cast<size_t>(value));
}

// Returns all values in order, for a loop over them.
template <HasWords E>
constexpr std::array<E, kNumWords<E>> all_values() {
  std::array<E, kNumWords<E>> values{};
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<E>(i);
  return values;
}

// Returns the value that has this name, or nothing.
template <HasWords E>
constexpr std::optional<E> value_named(std::string_view name) {
  for (const E value : all_values<E>()) {
    if (name == name_of(value)) return value;
  }
  return std::nullopt;
}

}  // namespace moehill
