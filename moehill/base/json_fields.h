// This header writes structs that have fields (base/fields.h) as JSON, and reads them back. read_fields() is
// the inverse of write_fields(), except that JSON has no NaN or infinity: they are written as null, and null
// leaves a member as it is. It does not parse text; base/strict_json.h does.
//
//   Json json;
//   write_fields(json, shape);  // {"tokens": 64, ...}, in the order of fields()
//   MoeShape again;
//   read_fields(json, again);   // throws InputError for a wrong type or a number that does not fit
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/fields.h"
#include "moehill/base/parse.h"
#include "moehill/base/words.h"

namespace moehill {

using Json = nlohmann::ordered_json;
using NamedNumbers = std::vector<std::pair<std::string, double>>;  // written as an object whose values are
                                                                   // numbers; the order is kept

template <typename Struct>
void write_fields(Json& json, const Struct& value);
template <typename Struct>
void read_fields(const Json& json, Struct& value);

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;

// Returns a value as JSON: an enum as its word, a struct with fields as an object, a vector as an array. An
// empty optional and a number that is not finite become null.
template <typename T>
Json json_of(const T& value) {
  if constexpr (HasWords<T>) {
    return name_of(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
  } else if constexpr (kIsOptional<T>) {
    return value ? json_of(*value) : Json(nullptr);
  } else if constexpr (std::is_same_v<T, NamedNumbers>) {
    Json json = Json::object();
    for (const auto& [name, number] : value) json[name] = json_of(number);
    return json;
  } else if constexpr (kIsVector<T>) {
    Json json = Json::array();
    for (const auto& part : value) json.push_back(json_of(part));
    return json;
  } else if constexpr (HasFields<T>) {
    Json json = Json::object();
    write_fields(json, value);
    return json;
  } else {
    return value;
  }
}

// Returns JSON as one line with its end. Bytes that are not UTF-8, such as those of a path, are replaced, so
// that every result can be written.
inline std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Returns JSON as the text of a file for people, indented by one blank for each level. Bytes are replaced as
// in json_line().
inline std::string indented_json(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Returns JSON as a terminal may show it. JSON escapes other control characters anyway, but not DEL and
// U+0080 to U+009F, of which xterm takes U+009B for the ESC [ that begins a command. They can only be in
// texts, where they may be escaped too.
inline std::string calm_json(const std::string& json) {
  std::string calm;
  for (size_t i = 0; i < json.size(); ++i) {
    const auto byte = static_cast<unsigned char>(json[i]),
               next = static_cast<unsigned char>(i + 1 < json.size() ? json[i + 1] : '\0');
    const bool is_pair = byte == 0xc2 && next >= 0x80 && next < 0xa0;  // as UTF-8 writes them
    if (byte != 0x7f && !is_pair) {
      calm += json[i];
      continue;
    }
    calm += fmt::format("\\u{:04x}", is_pair ? next : byte);
    i += is_pair ? 1 : 0;
  }
  return calm;
}

// Returns the error for a JSON value that does not fit the field `name`.
inline InputError bad_field(const std::string& name, const Json& json, const std::string& allowed) {
  return input_error(name, quoted(json.dump(-1, ' ', true, Json::error_handler_t::replace)), allowed,
                     "write it again by the command that wrote it");
}

// Returns true if the JSON is an integer that T can hold. The JSON library would convert any number silently,
// also a fraction or one that is too large.
template <std::integral T>
bool is_integer_of(const Json& json) {
  return json.is_number_unsigned() ? std::in_range<T>(json.get<uint64_t>())
                                   : json.is_number_integer() && std::in_range<T>(json.get<int64_t>());
}

// Returns a JSON number as T. Throws InputError for a value of another kind or too large for T.
template <typename T>
T number_of(const std::string& name, const Json& json) {
  if constexpr (std::is_integral_v<T>) {
    if (!is_integer_of<T>(json)) throw bad_field(name, json, "an integer");
  } else if (!json.is_number()) {
    throw bad_field(name, json, "a number");
  }
  return json.get<T>();
}

// Sets `value` from JSON, the inverse of json_of(). null leaves the value as it is. Throws InputError that
// names the field if the JSON does not fit the type.
template <typename T>
void take_json(const char* name, const Json& json, T& value) {
  if (json.is_null()) return;
  // Each branch is one kind of type: an enum with words, an optional value, named numbers, a list, a struct,
  // and so on.
  if constexpr (HasWords<T>) {
    const std::optional<T> found = json.is_string() ? value_named<T>(json.get<std::string>()) : std::nullopt;
    if (!found) throw bad_field(name, json, "one of its words");
    value = *found;
  } else if constexpr (kIsOptional<T>) {
    take_json(name, json, value.emplace());
  } else if constexpr (std::is_same_v<T, NamedNumbers>) {
    if (!json.is_object()) throw bad_field(name, json, "an object of numbers");
    value.clear();
    for (const auto& [key, number] : json.items()) take_json(name, number, value.emplace_back(key, 0).second);
  } else if constexpr (kIsVector<T>) {
    if (!json.is_array()) throw bad_field(name, json, "an array");
    value.clear();
    for (const Json& part : json) {
      typename T::value_type one{};
      take_json(name, part, one);
      value.push_back(std::move(one));
    }
  } else if constexpr (HasFields<T>) {
    if (!json.is_object()) throw bad_field(name, json, "an object");
    read_fields(json, value);
  } else if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    value = number_of<T>(name, json);
  } else if constexpr (std::is_same_v<T, Json>) {
    value = json;
  } else {
    constexpr bool kIsText = std::is_same_v<T, std::string>;
    static_assert(kIsText || std::is_same_v<T, bool>);
    if (kIsText ? !json.is_string() : !json.is_boolean())
      throw bad_field(name, json, kIsText ? "a text" : "true or false");
    value = json.get<T>();
  }
}

// JsonFieldWriter is the visitor behind write_fields().
struct JsonFieldWriter {
  Json& json;
  template <typename T>
  void operator()(const Field& field, const T& value) const {
    if (field.present) json[field.name] = field.applies ? json_of(value) : Json(nullptr);
  }
  template <typename T>
  void operator()(const Field& field, const Told<T>& told) const {
    (*this)(field, told.value);
  }
};

// JsonFieldReader is the visitor behind read_fields(). It ignores names in the JSON that are not fields.
struct JsonFieldReader {
  const Json& json;
  template <typename T>
  void operator()(const Field& field, T& value) const {
    if (const auto found = json.find(field.name); found != json.end()) take_json(field.name, *found, value);
  }
  template <typename T>
  void operator()(const Field& field, Told<T> told) const {
    (*this)(field, told.value);
  }
};

// Adds the fields of `value` to `json`, each under its name.
template <typename Struct>
void write_fields(Json& json, const Struct& value) {
  Struct::fields(value, JsonFieldWriter{json});
}

// Sets the fields of `value` from the JSON object. A field that is absent or null leaves its member as it is.
template <typename Struct>
void read_fields(const Json& json, Struct& value) {
  if (!json.is_object()) throw bad_field("a record", json, "an object");
  Struct::fields(value, JsonFieldReader{json});
}

}  // namespace moehill
