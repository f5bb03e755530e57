// Implementation of experiments/toml_reader.h. Every refusal names file, line and column, the value that is
// there, and the values that are allowed.
#include "moehill/experiments/toml_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/strict_toml.h"
#include "moehill/base/suggest.h"

namespace moehill {
namespace {

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

}  // namespace

TomlReader::TomlReader(std::string path, const std::string& text) : path_(std::move(path)) {
  try {
    // Deep nesting would overflow the stack of the parser.
    refuse_deep_toml(text, path_);
    root_ = toml::parse(text, path_);
  } catch (const toml::parse_error& error) {
    refuse(error.source(), std::string(error.description()), "TOML", "see toml.io for its form");
  }
}

std::string TomlReader::place(const toml::source_region& region) const {
  return fmt::format("{}:{}:{}", path_, region.begin.line, region.begin.column);
}

void TomlReader::refuse(const toml::source_region& region, const std::string& got, const std::string& allowed,
                        const std::string& remedy) const {
  throw input_error(place(region), got, allowed, remedy);
}

void TomlReader::allow_keys(const toml::table& table, const std::string& what,
                            const std::vector<std::string>& keys) const {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (std::find(keys.begin(), keys.end(), name) != keys.end()) continue;
    const std::string nearest = nearest_name(name, keys);
    refuse(key.source(), "unknown key '" + name + "' in " + what, fmt::format("{}", fmt::join(keys, ", ")),
           nearest.empty() ? "choose one of these" : "did you mean " + nearest + "?");
  }
}

// Returns the keys in the order of the file, which a toml::table does not keep.
std::vector<toml::key> TomlReader::ordered_keys(const toml::table& table) const {
  std::vector<toml::key> keys;
  for (const auto& [key, node] : table) keys.push_back(key);
  const auto earlier = [](const toml::key& a, const toml::key& b) {
    const toml::source_position p = a.source().begin, q = b.source().begin;
    return std::pair(p.line, p.column) < std::pair(q.line, q.column);
  };
  std::sort(keys.begin(), keys.end(), earlier);
  return keys;
}

void TomlReader::read(const toml::table& table, const std::string& key, std::string* value) const {
  const toml::node* node = table.get(key);
  if (node == nullptr) return;
  if (!node->is_string())
    refuse(node->source(), key + " is " + type_name(*node), "a string", "put it in quotes");
  *value = node->as_string()->get();
}

void TomlReader::read(const toml::table& table, const std::string& key, int64_t* value, int64_t lo,
                      int64_t hi) const {
  const toml::node* node = table.get(key);
  if (node == nullptr) return;
  const auto* integer = node->as_integer();
  if (integer == nullptr || integer->get() < lo || integer->get() > hi) {
    refuse(node->source(),
           fmt::format("{} is {}", key, integer ? std::to_string(integer->get()) : type_name(*node)),
           fmt::format("an integer from {} to {}", lo, hi),
           "write such as " + key + " = " + std::to_string(std::max<int64_t>(lo, 1)));
  }
  *value = integer->get();
}

void TomlReader::read(const toml::table& table, const std::string& key, double* value, double lo,
                      double hi) const {
  const toml::node* node = table.get(key);
  if (node == nullptr) return;
  const std::optional<double> number = node->is_number() ? node->value<double>() : std::nullopt;
  if (!number || !(*number >= lo && *number <= hi)) {
    refuse(node->source(),
           fmt::format("{} is {}", key, number ? fmt::format("{:g}", *number) : type_name(*node)),
           fmt::format("a number from {:g} to {:g}", lo, hi), "write a plain decimal");
  }
  *value = *number;
}

void TomlReader::read(const toml::table& table, const std::string& key, bool* value) const {
  const toml::node* node = table.get(key);
  if (node == nullptr) return;
  if (!node->is_boolean())
    refuse(node->source(), key + " is " + type_name(*node), "true or false", "write one of these");
  *value = node->as_boolean()->get();
}

const toml::table* TomlReader::subtable(const toml::table& table, const std::string& key) const {
  const toml::node* node = table.get(key);
  if (node != nullptr && !node->is_table())
    refuse(node->source(), key + " is " + type_name(*node), "a table", "write [" + key + "]");
  return node == nullptr ? nullptr : node->as_table();
}

const toml::array* TomlReader::array(const toml::table& table, const std::string& key) const {
  const toml::node* node = table.get(key);
  if (node != nullptr && (!node->is_array() || node->as_array()->empty()))
    refuse(node->source(), key + " is " + (node->is_array() ? "empty" : type_name(*node)),
           "an array of values", "write " + key + " = [...]");
  return node == nullptr ? nullptr : node->as_array();
}

StoredJson TomlReader::scalar(const toml::node& node) const {
  if (node.is_string()) return node.as_string()->get();
  if (node.is_integer()) return node.as_integer()->get();
  if (node.is_boolean()) return node.as_boolean()->get();
  if (!node.is_floating_point() || !std::isfinite(node.as_floating_point()->get()))
    refuse(node.source(), node.is_floating_point() ? "a number that is not finite" : type_name(node),
           "a string, a number or a boolean", "write one of these");
  return node.as_floating_point()->get();
}

StoredJson TomlReader::scalar_or_array(const toml::node& node) const {
  if (!node.is_array()) return scalar(node);
  if (node.as_array()->empty())
    refuse(node.source(), "an empty array", "at least one value", "leave the key out");
  StoredJson values = StoredJson::array();
  for (const toml::node& element : *node.as_array()) values.push_back(scalar(element));
  return values;
}

}  // namespace moehill
