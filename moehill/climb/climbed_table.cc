// Implementation of climb/climbed_table.h.
#include "moehill/climb/climbed_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/kept_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/experiments/plan.h"
#include "moehill/tune/tuned_table.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/climbed-1";

constexpr const char* kRemedy = "remove it, or name another by MOEHILL_CLIMBED";

InputError not_a_table(const std::string& path, const std::string& reason) {
  return input_error("--climbed", quoted(path, 200) + " (" + reason + ")",
                     "a table written by moehill climb, or no file", kRemedy);
}

StoredJson json_of_entry(const ClimbedEntry& e) {
  return {{"options", e.options},   {"gain", e.gain},
          {"budget_s", e.budget_s}, {"worth", e.worth},
          {"cpu", e.place.cpu},     {"cores", e.place.cores},
          {"simd", e.place.simd},   {"kernels", e.place.kernels},
          {"time_utc", e.time_utc}};
}

// Reads an entry. Those of older programs lack cores, SIMD target, budget and worth.
ClimbedEntry entry_of_json(const StoredJson& json) {
  ClimbedEntry entry;
  entry.options = json.at("options");
  entry.gain = json.at("gain").get<double>();
  entry.budget_s = json.value("budget_s", 0.0);
  entry.worth = json.value("worth", 0.0);
  entry.place.cpu = json.at("cpu").get<std::string>();
  entry.place.cores = json.value("cores", 0);
  entry.place.simd = json.value("simd", std::string());
  entry.place.kernels = json.at("kernels").get<std::string>();
  entry.time_utc = json.at("time_utc").get<std::string>();
  return entry;
}

std::string text_of(const ClimbedTable& table) {
  StoredJson entries = StoredJson::object();
  for (const auto& [key, entry] : table) entries[key] = json_of_entry(entry);
  return indented_json({{"schema", kSchema}, {"entries", entries}});
}

std::string place_text(const ClimbedPlace& place) {
  if (place.cores == 0)
    return fmt::format("{}, with kernels {}, by an older program that wrote down no cores", place.cpu,
                       place.kernels);
  return fmt::format("{}, {}, {}, with kernels {}", place.cpu, count_text(place.cores, "core"),
                     instruction_words(place.simd), place.kernels);
}

// A move is decided if it adopted an arm, or if none is left that may be faster.
bool is_decided(const ClimbMove& move) {
  const Race& race = move.result.race;
  if (race.winner() > 0) return true;
  for (size_t i = 1; i < move.arms.size(); ++i)
    if (race.fate(i) == ArmFate::racing || race.fate(i) == ArmFate::undecided) return false;
  return race.rounds() > 0;
}

}  // namespace

ClimbedPlace climbed_place(const Environment& environment) {
  return {environment.topology.cpu_model, environment.kernels_id, environment.kernel,
          environment.topology.num_cores};
}

std::string why_not_to_keep(const ClimbOutcome& outcome, const ClimbOptions& options) {
  if (options.memory_bytes)
    return "a configuration over --memory may be faster; climb without it, and bench takes the winner";
  if (std::none_of(outcome.moves.begin(), outcome.moves.end(), is_decided))
    return "no move was decided; give more --budget, or fewer options";
  return "";
}

ClimbedEntry climbed_entry(const ClimbOutcome& outcome, const ClimbOptions& options,
                           const Environment& environment) {
  ClimbedEntry entry;
  entry.options = moved_options(winner_options(outcome), options.base);
  // The budget may have had no time for the last comparison.
  entry.gain = outcome.total ? outcome.total->ratio : product_of_gains(outcome);
  entry.budget_s = options.budget_s;
  entry.worth = options.worth;
  entry.place = climbed_place(environment);
  entry.time_utc = utc_now();
  return entry;
}

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
      if (e.contains("cores") && !is_integer_of<int>(e.at("cores")))
        throw not_a_table(path, "cores that are no integer");
      table[key] = entry_of_json(e);
    }
    return table;
  } catch (const nlohmann::json::exception& error) {
    throw not_a_table(path, words_of(error));
  }
}

std::string keep_climbed(const std::string& path, const std::string& key, const ClimbedEntry& entry) {
  std::string why_not;
  replace_file(path, [&] {
    ClimbedTable table = read_climbed(path);
    const auto found = table.find(key);
    const bool stays = found != table.end() && found->second.place == entry.place &&
                       (found->second.budget_s > entry.budget_s || found->second.worth < entry.worth);
    if (stays)
      why_not = fmt::format(
          "the winner of {} stays, whose climb had --budget {} and --worth {:g}%; give at least that budget "
          "and at most that worth, or remove {}",
          found->second.time_utc, duration_text(found->second.budget_s), 100 * found->second.worth, path);
    else
      table[key] = entry;
    return text_of(table);
  });
  return why_not;
}

ClimbedEntry require_climbed(const std::string& path, const std::string& key,
                             const Environment& environment) {
  const ClimbedTable table = read_climbed(path);
  const auto found = table.find(key);
  if (found == table.end())
    throw input_error("--climbed", "a problem that nobody has climbed here: " + key,
                      "one of those in " + path, "run moehill climb with the same options");
  const ClimbedPlace here = climbed_place(environment);
  if (!(found->second.place == here))
    throw input_error("--climbed", fmt::format("what was found on {}", place_text(found->second.place)),
                      fmt::format("results of {}", place_text(here)), "run moehill climb again");
  return found->second;
}

}  // namespace moehill
