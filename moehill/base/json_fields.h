// The fields of a struct as JSON, both ways.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

#include "moehill/base/error.h"
#include "moehill/base/fields.h"
#include "moehill/base/words.h"

namespace moehill {

using Json = nlohmann::ordered_json;

// Words for enums, null for what is no finite number.
template <typename T>
Json json_of(const T& value) {
  if constexpr (HasWords<T>) {
    return name_of(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
  } else {
    return value;
  }
}

template <typename T>
void take_json(const char* name, const Json& json, T& value) {
  if constexpr (HasWords<T>) {
    const std::optional<T> found = value_named<T>(json.get<std::string>());
    if (!found) throw InputError(std::string(name) + ": " + json.dump() + " is none of its words");
    value = *found;
  } else {
    value = json.get<T>();
  }
}

class JsonFieldWriter {
 public:
  explicit JsonFieldWriter(Json& json) : json_(json) {}
  template <typename T>
  void operator()(const Field& field, const T& value) {
    json_[field.name] = field.applies ? json_of(value) : Json(nullptr);
  }
  template <typename T>
  void operator()(const Field& field, const Told<T>& told) {
    (*this)(field, told.value);
  }

 private:
  Json& json_;
};

class JsonFieldReader {
 public:
  explicit JsonFieldReader(const Json& json) : json_(json) {}
  template <typename T>
  void operator()(const Field& field, T& value) {
    const auto found = json_.find(field.name);
    if (found != json_.end() && !found->is_null()) take_json(field.name, *found, value);
  }
  template <typename T>
  void operator()(const Field& field, Told<T> told) {
    (*this)(field, told.value);
  }

 private:
  const Json& json_;
};

template <typename Struct>
void write_fields(Json& json, const Struct& value) {
  Struct::fields(value, JsonFieldWriter(json));
}

// A field that is absent or null leaves its member as it is. Throws InputError or nlohmann's for another
// type.
template <typename Struct>
void read_fields(const Json& json, Struct& value) {
  Struct::fields(value, JsonFieldReader(json));
}

}  // namespace moehill
