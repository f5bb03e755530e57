// Implementation of catalog/presets.h: it finds presets that are built into the program, and the user's own.
#include "moehill/catalog/presets.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

// kShipped is the name and text of each file in models/.
constexpr std::pair<const char*, const char*> kShipped[] = {
#include "shipped_models.inc"
};

// Returns the folder of the user's own presets, which take precedence; empty if there is none.
fs::path own_folder() { return folder_of_variable("MOEHILL_MODELS", "a folder of presets (JSON)"); }

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : kShipped) names.emplace_back(name);
  std::error_code none;  // without a folder there are no entries
  for (const auto& entry : fs::directory_iterator(own_folder(), none)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Preset read_preset(const std::string& text, const std::string& name) {
  const std::string source = "preset " + name;
  const nlohmann::json json = parse_strict_json(text, {source, "correct the file"});
  const auto refuse = [&](const std::string& got) {
    throw input_error(source, got, R"({"source": "..", "config": {..}, "left_out": [key, ..]})",
                      "correct the file");
  };
  // A preset is part of the program, so a key that is not known is a mistake in the file, not something to
  // skip.
  for (const auto& [key, value] : json.items()) {
    if (key != "source" && key != "config" && key != "left_out") refuse("the key " + quoted(key));
  }
  if (!json.contains("source") || !json["source"].is_string()) refuse("no source");
  if (!json.contains("config") || !json["config"].is_object()) refuse("no config");
  const nlohmann::json left_out = json.value("left_out", nlohmann::json::array());
  if (!left_out.is_array()) refuse("a left_out that is no list");
  Preset preset{name, json["source"].get<std::string>(),
                read_model_block(ConfigKeys(json["config"], source), std::nullopt), false};
  std::vector<std::string> named, missing;
  for (const nlohmann::json& key : left_out) {
    if (!key.is_string()) refuse("a left_out that names no keys");
    named.push_back(key.get<std::string>());
  }
  // A preset that names parts must name exactly the parts that its block leaves out, so that a part that is
  // lost by accident is an error.
  for (const LeftOut& part : preset.block.left_out) missing.push_back(part.key);
  for (std::vector<std::string>* keys : {&named, &missing}) {
    std::sort(keys->begin(), keys->end());
    keys->erase(std::unique(keys->begin(), keys->end()), keys->end());
  }
  if (!named.empty() && named != missing)
    refuse(fmt::format("left_out of {}, where the block leaves out {}", fmt::join(named, ", "),
                       fmt::join(missing, ", ")));
  preset.runs_without_left_out = !named.empty();
  return preset;
}

Preset load_preset(const std::string& name) {
  const std::vector<std::string> names = preset_names();
  parse_choice("--preset", name, names);
  if (!own_folder().empty()) {
    const std::string path = (own_folder() / (name + ".json")).string();
    if (is_there(path))
      return read_preset(read_input_file({"--preset", path, "a preset (JSON)", "check its folder"}), name);
  }
  for (const auto& [shipped, text] : kShipped) {
    if (name == shipped) return read_preset(text, name);
  }
  throw input_error("--preset", quoted(name), "a file that can be read", "check its folder");
}

void refuse_left_out(const Preset& preset) {
  if (!preset.runs_without_left_out) refuse_left_out(preset.block, "--preset " + preset.name);
}

std::string left_out_words(const ModelBlock& block) {
  std::vector<std::string> words;
  for (const LeftOut& part : block.left_out)
    words.push_back(fmt::format("{} ({} {})", part.what, part.key, part.value));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace moehill
