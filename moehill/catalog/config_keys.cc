// Implementation of catalog/config_keys.h: it reads the JSON, and checks each value when somebody asks for
// it.
#include "moehill/catalog/config_keys.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"

namespace moehill {
namespace {

const std::string kRemedy = "give the config.json of the model as it was released";

// Replaces Python's Infinity, -Infinity and NaN outside of texts by numbers that JSON can have.
std::string without_python_numbers(const std::string& text) {
  std::string out;
  bool in_text = false;
  // A backslash in a text may stand before a quote, so the character after it is copied too.
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') in_text = !in_text;
    if (in_text && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    if (!in_text && text.compare(i, 8, "Infinity") == 0) {
      out += "1e308";
      i += 7;
    } else if (!in_text && text.compare(i, 3, "NaN") == 0) {
      out += "null";
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A model with several parts (vision, audio, language) has its language model in one of these objects.
nlohmann::json language_part(nlohmann::json whole, const std::string& source) {
  for (const char* name : {"text_config", "llm_config", "language_config", "thinker_config"}) {
    const auto part = whole.find(name);
    if (part == whole.end() || part->is_null()) continue;
    if (!part->is_object())
      throw input_error(source + ": " + name, quoted(part->dump()), "an object", kRemedy);
    return language_part(nlohmann::json(*part), source);
  }
  return whole;
}

// If one of these parts is in the name of an unknown key, the key may say something about a block with
// experts.
constexpr const char* kTelling[] = {"expert", "moe",  "router", "routing", "swiglu",
                                    "situ",   "topk", "latent", "gate_"};
// If one of these parts is in the name of a key, the key is about training, serving or attention and changes
// nothing in a block.
constexpr const char* kHarmless[] = {"aux",      "output_router_logits",
                                     "jitter",   "dtype",
                                     "ep_size",  "index_",
                                     "tp_size",  "moe_token",
                                     "attn",     "attention",
                                     "z_loss",   "mtp",
                                     "overlap",  "implementation",
                                     "fusion",   "dropout",
                                     "capacity", "init",
                                     "quant",    "hybrid_pattern"};

}  // namespace

ConfigKeys::ConfigKeys(const std::string& text, const std::string& source)
    : ConfigKeys(parse_strict_json(without_python_numbers(text), {source, kRemedy}), source) {}

ConfigKeys::ConfigKeys(const nlohmann::json& object, const std::string& source)
    : source_(source), object_(language_part(object, source)) {}

bool ConfigKeys::has(const std::string& key) const { return !value(key).is_null(); }

// Returns the value of a key, or null, and notes that the key was asked for.
const nlohmann::json& ConfigKeys::value(const std::string& key) const {
  static const nlohmann::json none;
  asked_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? none : *found;
}

// Asks for all keys, also after it has found the first one, so that synonyms do not count as unused.
std::string ConfigKeys::first_of(const std::vector<std::string>& keys) const {
  std::string first;
  for (const std::string& key : keys) {
    if (has(key) && first.empty()) first = key;
  }
  return first;
}

void ConfigKeys::refuse(const std::string& key, const std::string& allowed, const std::string& remedy) const {
  const auto found = object_.find(key);
  throw input_error(source_ + ": " + key, found == object_.end() ? "nothing" : quoted(found->dump()), allowed,
                    remedy);
}

int64_t ConfigKeys::integer(const std::string& key, int64_t lo, int64_t hi) const {
  const nlohmann::json& json = value(key);
  // An unsigned number above INT64_MAX would become negative.
  const bool fits = json.is_number_integer() &&
                    !(json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) &&
                    json.get<int64_t>() >= lo && json.get<int64_t>() <= hi;
  if (!fits) refuse(key, fmt::format("a whole number from {} to {}", lo, hi), kRemedy);
  return json.get<int64_t>();
}

int64_t ConfigKeys::integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const {
  return has(key) ? integer(key, lo, hi) : fallback;
}

int64_t ConfigKeys::integer_at(const std::string& key, int64_t layer, int64_t lo, int64_t hi) const {
  const std::optional<std::vector<int64_t>> list = integers(key, lo, hi);
  if (!list) return integer(key, lo, hi);
  if (layer >= std::ssize(*list))
    refuse(key, fmt::format("a list with a value for layer {}", layer), kRemedy);
  return (*list)[static_cast<size_t>(layer)];
}

double ConfigKeys::number_or(const std::string& key, double fallback, double lo, double hi) const {
  if (!has(key)) return fallback;
  const nlohmann::json& json = value(key);
  if (!json.is_number() || !(json.get<double>() >= lo && json.get<double>() <= hi))
    refuse(key, fmt::format("a number from {:g} to {:g}", lo, hi), kRemedy);
  return json.get<double>();
}

bool ConfigKeys::flag_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!value(key).is_boolean()) refuse(key, "true or false", kRemedy);
  return value(key).get<bool>();
}

std::string ConfigKeys::text_or(const std::string& key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!value(key).is_string()) refuse(key, "text in quotes", kRemedy);
  return value(key).get<std::string>();
}

std::optional<std::vector<int64_t>> ConfigKeys::integers(const std::string& key, int64_t lo,
                                                         int64_t hi) const {
  const nlohmann::json& json = value(key);
  if (!json.is_array()) return std::nullopt;
  std::vector<int64_t> values;
  for (const nlohmann::json& one : json) {
    if (!one.is_number_integer() || one.get<int64_t>() < lo || one.get<int64_t>() > hi)
      refuse(key, fmt::format("whole numbers from {} to {}", lo, hi), kRemedy);
    values.push_back(one.get<int64_t>());
  }
  return values;
}

std::optional<std::vector<std::string>> ConfigKeys::texts(const std::string& key) const {
  const nlohmann::json& json = value(key);
  if (!json.is_array()) return std::nullopt;
  std::vector<std::string> values;
  for (const nlohmann::json& one : json) {
    if (!one.is_string()) refuse(key, "a list of texts", kRemedy);
    values.push_back(one.get<std::string>());
  }
  return values;
}

std::vector<std::string> ConfigKeys::unused() const {
  std::vector<std::string> unused;
  const auto holds = [](const std::string& key, const auto& parts) {
    return std::any_of(std::begin(parts), std::end(parts),
                       [&](const char* part) { return key.find(part) != std::string::npos; });
  };
  for (const auto& [key, json] : object_.items()) {
    if (!json.is_null() && asked_.count(key) == 0 && holds(key, kTelling) && !holds(key, kHarmless))
      unused.push_back(key);
  }
  return unused;
}

}  // namespace moehill
