// Implementation of predict/replay_tables.h. Every number of the file has limits, as in any file that others
// may have written.
#include "moehill/predict/replay_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "moehill/experiments/toml_reader.h"

namespace moehill {
namespace {

constexpr std::pair<const char*, const char*> kShipped[] = {
#include "shipped_replay.inc"
};

constexpr int64_t kMostTokens = 1 << 20, kMostDevices = 4096;
constexpr double kMostBytes = 1e6, kMostRate = 1e5, kMostMicroseconds = 1e9;

class Reader {
 public:
  Reader(const std::string& toml, const std::string& name) : toml_(name, toml) {
    toml_.allow_keys(toml_.root(), "the file", {"tables", "drops"});
    for (const toml::table* table : tables_of(toml_.root(), "tables")) read_table(*table);
    if (const toml::table* drops = toml_.subtable(toml_.root(), "drops")) read_drops(*drops);
  }

  ReplayFile take() { return std::move(file_); }

 private:
  std::vector<const toml::table*> tables_of(const toml::table& table, const std::string& key) const {
    std::vector<const toml::table*> tables;
    const toml::array* array = toml_.array(table, key);
    if (array == nullptr) return tables;
    for (const toml::node& node : *array) {
      if (!node.is_table()) toml_.refuse(node.source(), key + " of something else", "tables", "write tables");
      tables.push_back(node.as_table());
    }
    return tables;
  }

  template <HasWords E>
  void read_word(const toml::table& table, const std::string& key, E* value) const {
    std::string word = name_of(*value);
    toml_.read(table, key, &word);
    const std::optional<E> named = value_named<E>(word);
    if (!named)
      toml_.refuse(table.get(key)->source(), key + " is '" + word + "'",
                   fmt::format("{}", fmt::join(words(E{}), ", ")), "choose one of these");
    *value = *named;
  }

  // Reads one table. Keys of the table are defaults for its rows.
  void read_table(const toml::table& t) {
    toml_.allow_keys(
        t, "[[tables]]",
        {"name",     "title",        "source",     "hardware",     "counts",   "misfit",       "copies",
         "part",     "tokens",       "hidden",     "mlp_dim",      "experts",  "topk",         "rows",
         "computed", "distribution", "node_limit", "weight_bytes", "start_us", "rank_gb_per_s"});
    ReplayTable table;
    ReplayRow every;  // what the rows of the table have in common
    const std::pair<const char*, std::string*> texts[] = {{"name", &table.name},
                                                          {"title", &table.title},
                                                          {"source", &table.source},
                                                          {"hardware", &table.hardware},
                                                          {"counts", &table.counts},
                                                          {"misfit", &table.misfit},
                                                          {"distribution", &table.distribution}};
    for (const auto& [key, value] : texts) toml_.read(t, key, value);
    read_word(t, "copies", &table.copies);
    read_word(t, "part", &every.part);
    toml_.read(t, "computed", &table.computed);
    toml_.read(t, "tokens", &every.tokens, 1, kMostTokens);
    toml_.read(t, "hidden", &table.hidden, 1, kMostTokens);
    toml_.read(t, "mlp_dim", &table.mlp_dim, 1, kMostTokens);
    toml_.read(t, "experts", &every.experts, 1, 65536);
    toml_.read(t, "topk", &table.topk, 1, 1024);
    toml_.read(t, "node_limit", &table.node_limit, 1, 1024);
    toml_.read(t, "weight_bytes", &table.weight_bytes, 0.01, 8);
    toml_.read(t, "start_us", &table.start_us, 0, kMostMicroseconds);
    toml_.read(t, "rank_gb_per_s", &table.rank_gb_per_s, 0.001, kMostRate);
    for (const toml::table* row : tables_of(t, "rows")) table.rows.push_back(read_row(*row, every));
    // A table without one of these could not be predicted, so it is refused with its place in the file.
    const bool whole = !table.name.empty() && !table.hardware.empty() && table.hidden > 0 &&
                       table.mlp_dim > 0 && every.experts > 0 && table.topk > 0 && every.tokens > 0;
    if (!whole || table.rows.empty())
      toml_.refuse(t.source(), "a table without one of its parts",
                   "name, hardware, tokens, hidden, mlp_dim, experts, topk and rows", "add what is missing");
    file_.tables.push_back(std::move(table));
  }

  ReplayRow read_row(const toml::table& r, const ReplayRow& every) const {
    toml_.allow_keys(r, "a row",
                     {"name", "devices", "tokens", "experts", "row_bytes", "back_bytes", "gb_per_s", "us",
                      "part", "backward", "fits"});
    ReplayRow row = every;
    toml_.read(r, "name", &row.name);
    toml_.read(r, "devices", &row.devices, 1, kMostDevices);
    toml_.read(r, "tokens", &row.tokens, 1, kMostTokens);
    toml_.read(r, "experts", &row.experts, 1, 65536);
    toml_.read(r, "row_bytes", &row.row_bytes, 1, kMostBytes);
    toml_.read(r, "back_bytes", &row.back_bytes, 0, kMostBytes);
    toml_.read(r, "gb_per_s", &row.gb_per_s, 0.001, kMostRate);
    toml_.read(r, "us", &row.us, 0.001, kMostMicroseconds);
    toml_.read(r, "backward", &row.backward);
    read_word(r, "part", &row.part);
    read_word(r, "fits", &row.fits);
    if (row.name.empty() || row.row_bytes == 0 || (row.gb_per_s == 0 && row.us == 0))
      toml_.refuse(r.source(), "a row without one of its parts", "name, row_bytes, and gb_per_s or us",
                   "add what is missing");
    return row;
  }

  // Reads the table of shares that a capacity drops.
  void read_drops(const toml::table& t) {
    toml_.allow_keys(
        t, "[drops]",
        {"title", "source", "distribution", "sources", "tokens", "experts", "topk", "draws", "rows"});
    DropTable& drops = file_.drops;
    toml_.read(t, "title", &drops.title);
    toml_.read(t, "source", &drops.source);
    toml_.read(t, "distribution", &drops.distribution);
    toml_.read(t, "sources", &drops.sources, 1, 64);
    toml_.read(t, "tokens", &drops.tokens, 1, kMostTokens);
    toml_.read(t, "experts", &drops.experts, 1, 65536);
    toml_.read(t, "topk", &drops.topk, 1, 1024);
    toml_.read(t, "draws", &drops.draws, 2, 64);
    for (const toml::table* row : tables_of(t, "rows")) {
      toml_.allow_keys(*row, "a row", {"name", "by_source", "pool", "factors", "percent"});
      DropRow drop;
      toml_.read(*row, "name", &drop.name);
      toml_.read(*row, "by_source", &drop.by_source);
      toml_.read(*row, "pool", &drop.pool, 1, 65536);
      drop.factors = numbers(*row, "factors");
      drop.percent = numbers(*row, "percent");
      if (drop.factors.size() != drop.percent.size())
        toml_.refuse(row->source(), "other numbers of factors and percent", "as many", "correct one");
      drops.rows.push_back(std::move(drop));
    }
  }

  std::vector<double> numbers(const toml::table& table, const std::string& key) const {
    std::vector<double> values;
    const toml::array* array = toml_.array(table, key);
    if (array == nullptr) return values;
    for (const toml::node& node : *array) values.push_back(toml_.scalar(node).get<double>());
    return values;
  }

  TomlReader toml_;
  ReplayFile file_;
};

}  // namespace

ReplayFile parse_replay_tables(const std::string& toml, const std::string& name) {
  return Reader(toml, name).take();
}

ReplayFile read_replay_tables() {
  return parse_replay_tables(kShipped[0].second, std::string(kShipped[0].first) + ".toml");
}

}  // namespace moehill
