// Implementation of climb/climbed_table.h.
#include "moehill/climb/climbed_table.h"

#include <fmt/format.h>

#include <cstdlib>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/kept_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/tune/tuned_table.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/climbed-1";

constexpr const char* kRemedy = "remove it, or name another by MOEHILL_CLIMBED";

InputError not_a_table(const std::string& path, const std::string& reason) {
  return input_error("--climbed", path + " (" + reason + ")", "a table written by moehill climb, or no file",
                     kRemedy);
}

std::string text_of(const ClimbedTable& table) {
  StoredJson entries = StoredJson::object();
  for (const auto& [key, e] : table)
    entries[key] = {{"options", e.options},
                    {"gain", e.gain},
                    {"cpu", e.cpu},
                    {"kernels", e.kernels},
                    {"time_utc", e.time_utc}};
  return StoredJson{{"schema", kSchema}, {"entries", entries}}.dump(1, ' ', false,
                                                                    StoredJson::error_handler_t::replace) +
         "\n";
}

}  // namespace

std::string default_climbed_file(const Environment& environment) {
  const char* file = std::getenv("MOEHILL_CLIMBED");
  return file != nullptr && *file != '\0' ? file : file_of_cpu("climbed", environment);
}

ClimbedTable read_climbed(const std::string& path) {
  if (path.empty() || !is_there(path)) return {};
  const InputFile file{"--climbed", path, "a table written by moehill climb", kRemedy};
  try {
    const auto json =
        parse_strict_json<StoredJson>(read_input_file(file), {"--climbed " + quoted(path, 200), kRemedy});
    if (json.at("schema") != kSchema) throw not_a_table(path, "another schema");
    ClimbedTable table;
    for (const auto& [key, e] : json.at("entries").items()) {
      if (!e.at("options").is_object()) throw not_a_table(path, "options that are none");
      table[key] = {e.at("options"), e.at("gain"), e.at("cpu"), e.at("kernels"), e.at("time_utc")};
    }
    return table;
  } catch (const nlohmann::json::exception& error) {
    throw not_a_table(path, words_of(error));
  }
}

void keep_climbed(const std::string& path, const std::string& key, const ClimbedEntry& entry) {
  replace_file(path, [&] {
    ClimbedTable table = read_climbed(path);
    table[key] = entry;
    return text_of(table);
  });
}

ClimbedEntry require_climbed(const std::string& path, const std::string& key,
                             const Environment& environment) {
  const ClimbedTable table = read_climbed(path);
  const auto found = table.find(key);
  if (found == table.end())
    throw input_error("--climbed", "a problem that nobody has climbed here: " + key,
                      "one of those in " + path, "run moehill climb with the same shape");
  const ClimbedEntry& entry = found->second;
  if (entry.cpu != environment.topology.cpu_model || entry.kernels != environment.kernels_id)
    throw input_error(
        "--climbed", fmt::format("what was found on {} with kernels {}", entry.cpu, entry.kernels),
        fmt::format("results of {} with kernels {}", environment.topology.cpu_model, environment.kernels_id),
        "run moehill climb again");
  return entry;
}

}  // namespace moehill
