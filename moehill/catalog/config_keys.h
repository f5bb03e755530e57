// ConfigKeys reads the keys of a model's config.json. The caller asks for each key together with the values
// that make sense, so that a wrong file gives an error and not a wrong model. families.h knows what the keys
// mean.
//
//   const ConfigKeys keys(text, "--config 'config.json'");
//   const int64_t hidden = keys.integer("hidden_size", 1, 1 << 24);
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moehill {

// ConfigKeys treats a key whose value is null as absent. Its functions throw InputError that names file, key,
// value, what is allowed and a remedy.
class ConfigKeys {
 public:
  // Reads the text of a config.json. Python writes Infinity and NaN, which are not JSON; they are taken as
  // 1e308 and null. In a model with several parts (`text_config` and the like), only the part of the language
  // model is read. `source` names the file in errors.
  ConfigKeys(const std::string& text, const std::string& source);
  ConfigKeys(const nlohmann::json& object, const std::string& source);

  bool has(const std::string& key) const;
  // Returns the first of these keys that is there, or "".
  std::string first_of(const std::vector<std::string>& keys) const;

  int64_t integer(const std::string& key, int64_t lo, int64_t hi) const;
  int64_t integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const;
  // Returns the value for one layer. The key may have one value for all layers, or a list with one for each.
  int64_t integer_at(const std::string& key, int64_t layer, int64_t lo, int64_t hi) const;
  double number_or(const std::string& key, double fallback, double lo, double hi) const;
  bool flag_or(const std::string& key, bool fallback) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  // These return a list, or nothing if the key is absent or not a list.
  std::optional<std::vector<int64_t>> integers(const std::string& key, int64_t lo, int64_t hi) const;
  std::optional<std::vector<std::string>> texts(const std::string& key) const;

  // Returns the keys about experts, routers and activations for which nobody has asked. They may mean
  // something that this program does not know.
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
