// Structs with fields (base/fields.h) as JSON, both ways.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/fields.h"
#include "moehill/base/words.h"

namespace moehill {

using Json = nlohmann::ordered_json;
using NamedNumbers = std::vector<std::pair<std::string, double>>;  // an object of numbers, in order

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

// Words for enums, objects for structs, null for what is not there or is no finite number.
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

// The inverse. null leaves the value as it is. Throws InputError or nlohmann's error for what does not fit.
template <typename T>
void take_json(const char* name, const Json& json, T& value) {
  if (json.is_null()) return;
  if constexpr (HasWords<T>) {
    const std::optional<T> found = value_named<T>(json.get<std::string>());
    if (!found) throw InputError(std::string(name) + ": " + json.dump() + " is none of its words");
    value = *found;
  } else if constexpr (kIsOptional<T>) {
    take_json(name, json, value.emplace());
  } else if constexpr (std::is_same_v<T, NamedNumbers>) {
    value.clear();
    for (const auto& [key, number] : json.items()) take_json(name, number, value.emplace_back(key, 0).second);
  } else if constexpr (kIsVector<T>) {
    value.clear();
    for (const Json& part : json) {
      typename T::value_type one{};
      take_json(name, part, one);
      value.push_back(std::move(one));
    }
  } else if constexpr (HasFields<T>) {
    read_fields(json, value);
  } else {
    value = json.get<T>();
  }
}

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

template <typename Struct>
void write_fields(Json& json, const Struct& value) {
  Struct::fields(value, JsonFieldWriter{json});
}

// A field that is absent or null leaves its member as it is.
template <typename Struct>
void read_fields(const Json& json, Struct& value) {
  if (!json.is_object()) throw InputError("got " + json.dump() + ", allowed: a JSON object");
  Struct::fields(value, JsonFieldReader{json});
}

}  // namespace moehill
