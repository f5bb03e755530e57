// Implementation of tune/tuned_table.h. A key is a text of the whole problem. The file is replaced as a
// whole, so that a killed program leaves the old table or the new one.
#include "moehill/tune/tuned_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/kept_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/predict/prediction.h"
#include "moehill/probe/probe_file.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/tuned-1";
constexpr const char* kRemedy = "remove it, or name another by --table";

InputError not_a_table(const std::string& path, const std::string& reason) {
  return input_error("--table", quoted(path, 200) + " (" + reason + ")",
                     "a table written by moehill tune, or no file", kRemedy);
}

// Parses block sizes of the file. The message about bad ones names the file.
BlockSizes blocks_in(const std::string& text, const std::string& path) {
  try {
    return parse_blocks(text);
  } catch (const InputError& error) {
    throw not_a_table(path, error.what());
  }
}

// Tables from before coverages were kept hold intervals of 95 %.
Ratio gain_in(const Json& e) {
  Ratio gain{e.at("gain"), e.at("rounds"), {}};
  if (gain.n >= kMinRounds)
    gain.interval = {e.at("gain_lo"), e.at("gain_hi"), e.value("gain_coverage", kCoverage)};
  return gain;
}

// Parses a table and checks it completely; throws InputError that names `path`.
TunedTable parse(const std::string& text, const std::string& path) {
  try {
    const auto json = parse_strict_json<Json>(text, {"--table " + quoted(path, 200), kRemedy});
    if (json.at("schema") != kSchema) throw not_a_table(path, "another schema");
    TunedTable table;
    for (const auto& [key, e] : json.at("entries").items()) {
      TunedEntry entry;
      entry.blocks = blocks_in(e.at("blocks"), path);
      if (!is_integer_of<int64_t>(e.at("rounds"))) throw not_a_table(path, "rounds that are no integer");
      entry.gain = gain_in(e);
      entry.cpu = e.at("cpu");
      entry.kernels = e.at("kernels");
      entry.time_utc = e.at("time_utc");
      entry.simd = e.value("simd", std::string());
      table[key] = entry;
    }
    return table;
  } catch (const nlohmann::json::exception& error) {
    throw not_a_table(path, words_of(error));
  }
}

// Returns the table as the text of its file.
std::string text_of(const TunedTable& table) {
  Json entries = Json::object();
  for (const auto& [key, e] : table) {
    const auto& interval = e.gain.interval;
    entries[key] = {{"blocks", to_string(e.blocks)},
                    {"gain", e.gain.ratio},
                    {"gain_lo", interval ? Json(interval->lo) : Json(nullptr)},
                    {"gain_hi", interval ? Json(interval->hi) : Json(nullptr)},
                    {"gain_coverage", interval ? Json(interval->coverage) : Json(nullptr)},
                    {"rounds", e.gain.n},
                    {"cpu", e.cpu},
                    {"kernels", e.kernels},
                    {"simd", e.simd},
                    {"time_utc", e.time_utc}};
  }
  return indented_json({{"schema", kSchema}, {"entries", entries}});
}

// Returns the part of the capacity that changes how many rows the experts have.
std::string capacity_text(const Capacity& c) {
  std::string text = name_of(c.policy);
  if (c.policy == CapacityPolicy::none) return text;
  text += fmt::format(":{}", c.factor);
  if (!c.is_plain())
    text += fmt::format(",{},pool:{},sources:{},spares:{}", name_of(c.order), c.pool, c.sources, c.spares);
  return text;
}

// Returns the class of a skew. Three classes suffice: what matters is whether a few experts have most rows.
std::string skew_bucket(double max_over_mean) {
  return max_over_mean < 1.5 ? "even" : max_over_mean < 4 ? "skewed" : "hot";
}

bool has_blocks(const RunConfig& config) { return config.block.backend == Backend::gmm; }

}  // namespace

std::string tuned_key(const RunConfig& config, const Routing& routing) {
  const MoeShape s = over_places(config).shape;
  const BlockOptions& b = config.block;
  // A kernel depends on the sizes of one device: its experts and, to a power of two, the rows of an expert.
  const int64_t experts = (s.experts + config.num_devices - 1) / config.num_devices;
  const double rows = static_cast<double>(s.assignments()) / s.experts;
  std::string key = fmt::format(
      "{} {} {} H={} M={} S={}{} E/P={} k={} rows=2^{} {} remat={} capacity={} {}", name_of(b.pass),
      name_of(b.impl), dtype_name(s.dtype), s.hidden, s.mlp_dim, s.shared_dim, b.shared_fused ? "fused" : "",
      experts, s.topk, std::lround(std::log2(rows)), skew_bucket(max_over_mean(expert_load(routing))),
      name_of(b.remat), capacity_text(b.capacity), name_of(mode_of(config.spread)));
  if (is_ep(config.spread)) key += fmt::format("/{}", name_of(config.spread));
  if (b.expert_by_expert) key += " one-by-one";
  if (!(s.form == ExpertForm{})) key += " form=" + to_string(s.form);
  if (s.router.input_weighted) key += " input-weighted";
  return key + fmt::format(" {}x{}", config.num_devices, config.threads_per_device);
}

std::string file_of_cpu(const std::string& folder, const Environment& environment) {
  std::string name;
  for (const char c : environment.topology.cpu_model)
    name += std::isalnum(static_cast<unsigned char>(c)) != 0
                ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
                : '-';
  return data_file(folder + "/" + name + ".json");
}

std::string default_tuned_file(const Environment& environment) {
  if (const char* file = std::getenv("MOEHILL_TUNED"); file != nullptr && *file != '\0') return file;
  return file_of_cpu("tuned", environment);
}

TunedTable read_tuned(const std::string& path) {
  if (path.empty() || !is_there(path)) return {};
  return parse(read_input_file({"--table", path, "a table written by moehill tune, or no file", kRemedy}),
               path);
}

void keep_tuned(const std::string& path, const std::string& key, const TunedEntry& entry) {
  // The table is read again under the lock, so that entries of another tuner are kept.
  replace_file(path, [&] {
    TunedTable table = read_tuned(path);
    table[key] = entry;
    return text_of(table);
  });
}

// Returns the blocks if the entry was found on this CPU model, with its SIMD target and with these kernels;
// else it is stale. A virtual machine may hide instructions of a CPU model, and MOEHILL_SIMD may choose
// fewer; both take other kernels.
TunedLookup look_up(const TunedTable& table, const std::string& key, const Environment& environment) {
  const auto found = table.find(key);
  if (found == table.end()) return {};
  const TunedEntry& entry = found->second;
  if (entry.cpu != environment.topology.cpu_model)
    return {
        Tuned::stale, fmt::format("found on {}, this is {}", entry.cpu, environment.topology.cpu_model), {}};
  if (entry.kernels != environment.kernels_id)
    return {Tuned::stale,
            fmt::format("found with kernels {}, these are {}", entry.kernels, environment.kernels_id),
            {}};
  if (entry.simd.empty())
    return {Tuned::stale, "found by an older program, which wrote down no SIMD target", {}};
  if (entry.simd != environment.kernel)
    return {Tuned::stale,
            fmt::format("found with {}, this program uses {}", instruction_words(entry.simd),
                        instruction_words(environment.kernel)),
            {}};
  return {Tuned::hit, "", entry.blocks};
}

std::string apply_tuned(const BenchOptions& options, const Environment& environment,
                        std::vector<Point>& points) {
  const char* asked = std::getenv("MOEHILL_TUNED");
  const bool automatic = options.table == TableChoice::automatic;
  const bool off = automatic && asked != nullptr && std::string(asked) == name_of(TableChoice::off);
  const auto names_blocks = [&](const Point& point) { return own_options(options, point).blocks_given; };
  const bool none = std::all_of(points.begin(), points.end(), names_blocks);
  if (options.table == TableChoice::off || off || none) return "";
  const TunedTable table = read_tuned(automatic ? default_tuned_file(environment) : options.table_file);
  std::set<std::string> lines;
  for (Point& point : points) {
    if (!has_blocks(point.config) || names_blocks(point)) continue;
    const Routing routing =
        routing_of(point.config.shape, point.distribution, options.seed, point.config.block.capacity.spares);
    const TunedLookup found = look_up(table, tuned_key(point.config, routing), environment);
    point.tuned = found.status;
    if (found.status == Tuned::hit) point.config.block.blocks = found.blocks;
    const std::string more = found.status == Tuned::hit ? to_string(found.blocks) : found.why;
    lines.insert(
        found.status == Tuned::miss
            ? "the defaults, since nobody tuned them for this shape (moehill tune does)"
            : fmt::format("{}: {}, {}", point.label,
                          found.status == Tuned::hit ? "tuned" : "the defaults, tuned ones are stale", more));
  }
  std::string text;
  for (const std::string& line : lines) text += "blocks: " + line + "\n";
  return text;
}

}  // namespace moehill
