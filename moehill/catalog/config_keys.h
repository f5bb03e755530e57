// ConfigKeys: the keys of a model's config.json, each asked for with the values that make sense.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moehill {

// A key that is null is absent. Throws InputError that names file, key, value, what is allowed and a remedy.
class ConfigKeys {
 public:
  // The text of a config.json. Python writes Infinity and NaN, which JSON has not: they are taken as 1e308
  // and null. Of a model with several parts (`text_config` and its like) the part of its language model.
  ConfigKeys(const std::string& text, const std::string& source);
  ConfigKeys(const nlohmann::json& object, const std::string& source);

  bool has(const std::string& key) const;
  // The first of these that is there, or "".
  std::string first_of(const std::vector<std::string>& keys) const;

  int64_t integer(const std::string& key, int64_t lo, int64_t hi) const;
  int64_t integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const;
  // Values of one layer, where a key has a list with a value for each layer.
  int64_t integer_at(const std::string& key, int64_t layer, int64_t lo, int64_t hi) const;
  double number_or(const std::string& key, double fallback, double lo, double hi) const;
  bool flag_or(const std::string& key, bool fallback) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  // A list, or nothing where the key is absent or no list.
  std::optional<std::vector<int64_t>> integers(const std::string& key, int64_t lo, int64_t hi) const;
  std::optional<std::vector<std::string>> texts(const std::string& key) const;

  // Keys about experts, routers and activations that nobody has asked for.
  std::vector<std::string> unused() const;
  const std::string& source() const { return source_; }
  [[noreturn]] void refuse(const std::string& key, const std::string& allowed,
                           const std::string& remedy = "correct the file") const;

 private:
  const nlohmann::json& value(const std::string& key) const;

  std::string source_;
  nlohmann::json object_;
  mutable std::set<std::string> asked_;
};

}  // namespace moehill
