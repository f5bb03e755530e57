// Implementation of predict/replay_report.h: published rows beside their predictions, table by table, then
// the fitted parameters and the drops.
#include "moehill/predict/replay_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr double kFar = 0.15;  // an error that needs a reason

constexpr const char* kLegend =
    "GB/s, us: as published; ~ is the logical bytes over the published GB/s. model: predicted us. MB: of a\n"
    "rank, the mean: logical as the publishers count, and those that cross links inside of its node and\n"
    "between nodes. NIC: GB/s that the network carries in the published time. bound by: compute, memory, a\n"
    "rank (rows that it stages itself, for its own node too), node (links inside of it), network, overhead\n"
    "(the start). fitted: the parameter that was fitted to the row.\n";

// Row is a published row with its prediction.
struct Row {
  const ReplayRow& published;
  const ReplayedRow& replayed;
  double published_s() const { return published_seconds(published, replayed); }
  double error() const { return replayed.time_s / published_s() - 1; }
  // Returns the level that binds. A part of the step that was not timed cannot bind.
  Level bound_by() const {
    LevelSeconds seconds = replayed.seconds;
    if (published.part == ReplayPart::products) {
      for (const Level level : {Level::rank, Level::node, Level::network})
        seconds[static_cast<size_t>(level)] = 0;
    }
    return binding_level(seconds);
  }
};

std::vector<Row> rows_of(const ReplayedTable& table) {
  std::vector<Row> rows;
  for (size_t i = 0; i < table.rows.size(); ++i) rows.push_back({table.table->rows[i], table.rows[i]});
  return rows;
}

std::string number_or_dash(double value, const char* form) {
  return value > 0 ? fmt::format(fmt::runtime(form), value) : "-";
}

std::string row_table(const ReplayedTable& table) {
  std::vector<std::vector<std::string>> lines;
  for (const Row& row : rows_of(table)) {
    const ReplayRow& p = row.published;
    const ReplayBytes& bytes = row.replayed.bytes;
    lines.push_back({p.name, number_or_dash(p.gb_per_s, "{:.0f}"),
                     fmt::format("{}{:.1f}", p.us > 0 ? "" : "~", 1e6 * row.published_s()),
                     fmt::format("{:.1f}", 1e6 * row.replayed.time_s),
                     fmt::format("{:+.1f}", 100 * row.error()), fmt::format("{:.2f}", bytes.logical / 1e6),
                     fmt::format("{:.2f}", bytes.node / 1e6), number_or_dash(bytes.network / 1e6, "{:.2f}"),
                     number_or_dash(bytes.network / row.published_s() / 1e9, "{:.1f}"),
                     name_of(row.bound_by()), p.fits == Fitted::none ? "" : name_of(p.fits)});
  }
  return format_table({"row", "GB/s", "us", "model", "error %", "logical MB", "node MB", "network MB", "NIC",
                       "bound by", "fitted"},
                      lines);
}

// Returns a line that says how well the logical bytes explain the rows that have both a bandwidth and a time.
std::string formula_line(const ReplayedTable& table) {
  double worst = 0;
  int num = 0;
  for (const Row& row : rows_of(table)) {
    const ReplayRow& p = row.published;
    if (p.gb_per_s == 0 || p.us == 0) continue;
    ++num;
    worst = std::max(worst, std::abs(row.replayed.bytes.logical / (1e3 * p.us * p.gb_per_s) - 1));
  }
  if (num == 0) return "";
  return fmt::format("logical bytes over published times give the published GB/s of its {} within {:.1f} %\n",
                     count_text(num, "row"), 100 * worst);
}

// Returns the rows that the model misses by more than kFar, with the reason if one is known.
std::string misfit_lines(const ReplayedTable& table) {
  std::string names;
  for (const Row& row : rows_of(table)) {
    if (std::abs(row.error()) > kFar) names += (names.empty() ? "" : ", ") + row.published.name;
  }
  if (names.empty()) return "";
  const std::string& why = table.table->misfit;
  return fmt::format("does not fit: {}:\n  {}\n", names, why.empty() ? "the reason is not known" : why);
}

// Returns a table with the same rows sent in other ways, for rows that are sent once to each node.
std::string other_ways(const ReplayedTable& table) {
  std::vector<std::vector<std::string>> lines;
  for (const Row& row : rows_of(table)) {
    const ReplayedRow& r = row.replayed;
    if (r.once_a_rank_s == 0) continue;
    const auto cell = [&](double seconds) {
      return fmt::format("{:.1f} (x{:.2f})", 1e6 * seconds, seconds / row.published_s());
    };
    lines.push_back({row.published.name, cell(r.time_s), cell(r.in_turn_s), cell(r.once_a_rank_s)});
  }
  if (lines.empty()) return "";
  return "the same rows, us (and over the published time): once a node with the levels at once; in turn, as\n"
         "hierarchical here; once a rank, as ragged_a2a\n" +
         format_table({"row", "at once", "in turn", "once a rank"}, lines);
}

std::string held_out_text(const HeldOut& held) {
  if (held.rows == 0) return "no row is held out";
  return fmt::format("{} held out: median error {:.1f} %, {} within 10 %", count_text(held.rows, "row"),
                     100 * held.median, held.within_tenth);
}

std::string table_text(const ReplayedTable& table) {
  const ReplayTable& t = *table.table;
  return fmt::format("\n{}: {}\n{}; on {}\npublished GB/s count {}\n{}{}{}{}{}\n", t.name, t.title, t.source,
                     table.hardware.name, t.counts, row_table(table), other_ways(table), formula_line(table),
                     misfit_lines(table),
                     held_out_text(held_out({&table})) + (t.computed ? " (figures of their model)" : ""));
}

std::string value_text(Fitted fits, double value) {
  if (value == 0) return "-";
  if (fits == Fitted::start) return fmt::format("{:.1f} us", 1e6 * value);
  if (fits == Fitted::products) return fmt::format("x {:.3f}", value);
  return fmt::format("{:.1f} GB/s", value / 1e9);
}

// Returns each fitted parameter with its value in the hardware file and the value that its row alone would
// give.
std::string parameter_table(const Replay& replay) {
  std::vector<std::vector<std::string>> lines;
  for (const ReplayedTable& table : replay.tables) {
    for (const FittedParameter& p : table.parameters) {
      const Fitted fits = p.row->fits;
      const bool is_hardware = fits == Fitted::node || fits == Fitted::network || fits == Fitted::products;
      lines.push_back(
          {fmt::format("{} of {}", name_of(fits), is_hardware ? table.hardware.name : p.table->name),
           value_text(fits, p.used), value_text(fits, p.fitted), p.table->name, p.row->name});
    }
  }
  return lines.empty() ? ""
                       : "\nfitted parameters\n" +
                             format_table({"parameter", "used", "by its row alone", "table", "row"}, lines);
}

std::string drop_text(const Replay& replay) {
  if (replay.drops.empty()) return "";
  const DropTable& t = replay.file.drops;
  std::vector<std::vector<std::string>> lines;
  for (size_t r = 0; r < t.rows.size(); ++r) {
    const DropRow& row = t.rows[r];
    for (size_t f = 0; f < row.factors.size(); ++f) {
      const ReplayedDrop& drop = replay.drops[r][f];
      lines.push_back(
          {row.name, fmt::format("{:.2f}", row.factors[f]), fmt::format("{:.2f}", row.percent[f]),
           fmt::format("{:.2f}", drop.mean), fmt::format("{:.2f}", drop.deviation),
           drop.deviation > 0 ? fmt::format("{:+.1f}", (row.percent[f] - drop.mean) / drop.deviation) : "-"});
    }
  }
  return fmt::format("\ndrops: {}\n{}; by this program's capacity, {} draws of {}\n", t.title, t.source,
                     t.draws, t.distribution) +
         format_table({"a cell is of", "factor", "published %", "mean %", "deviation", "off by deviations"},
                      lines);
}

Json record_of(const ReplayedTable& table, const Row& row) {
  const ReplayRow& p = row.published;
  const ReplayBytes& bytes = row.replayed.bytes;
  Json levels = Json::object();
  for (const Level level : all_values<Level>())
    levels[name_of(level)] = row.replayed.seconds[static_cast<size_t>(level)];
  const auto given = [](double value) { return value > 0 ? Json(value) : Json(nullptr); };
  return {{"schema", "moehill/1"},
          {"command", "replay"},
          {"table", table.table->name},
          {"row", p.name},
          {"source", table.table->source},
          {"hardware", table.hardware.name},
          {"devices", p.devices},
          {"tokens_per_device", p.tokens},
          {"published", {{"bytes_per_s", given(1e9 * p.gb_per_s)}, {"time_s", given(1e-6 * p.us)}}},
          {"published_s", row.published_s()},
          {"time_s", row.replayed.time_s},
          {"error", row.error()},
          {"bytes", {{"logical", bytes.logical}, {"node", bytes.node}, {"network", bytes.network}}},
          {"touched_experts", row.replayed.touched_experts},
          {"levels_s", levels},
          {"bound_by", name_of(row.bound_by())},
          {"fitted", p.fits == Fitted::none ? Json(nullptr) : Json(name_of(p.fits))},
          {"held_out", p.fits == Fitted::none},
          {"computed", table.table->computed}};
}

}  // namespace

Replay replay_published(const std::optional<std::string>& only,
                        const std::function<void(const std::string&)>& begins) {
  Replay replay;
  replay.file = read_replay_tables();
  ReplayRoutings routings;
  std::string names;
  for (const ReplayTable& table : replay.file.tables) {
    names += table.name + ", ";
    if (only && *only != table.name) continue;
    begins(table.name);
    replay.tables.push_back(replay_table(table, routings));
  }
  if (!only || *only == "drops") {
    begins("drops");
    replay.drops = replay_drops(replay.file.drops);
  }
  if (replay.tables.empty() && replay.drops.empty())
    throw input_error("--table", quoted(*only), names + "drops", "choose one of these");
  return replay;
}

HeldOut held_out(const std::vector<const ReplayedTable*>& tables) {
  std::vector<double> errors;
  for (const ReplayedTable* table : tables) {
    for (const Row& row : rows_of(*table)) {
      if (row.published.fits == Fitted::none) errors.push_back(std::abs(row.error()));
    }
  }
  HeldOut held;
  if (errors.empty()) return held;
  std::sort(errors.begin(), errors.end());
  // The median of an even number of rows is the mean of the two in the middle.
  const size_t n = errors.size();
  held.rows = static_cast<int>(n);
  held.median = (errors[(n - 1) / 2] + errors[n / 2]) / 2;
  held.within_tenth = static_cast<int>(
      std::count_if(errors.begin(), errors.end(), [](double error) { return error <= 0.1; }));
  return held;
}

HeldOut held_out(const Replay& replay) {
  std::vector<const ReplayedTable*> measured;
  for (const ReplayedTable& table : replay.tables) {
    if (!table.table->computed) measured.push_back(&table);
  }
  return held_out(measured);
}

std::string replay_report(const Replay& replay) {
  std::string text;
  if (replay.tables.size() > 1) {
    const HeldOut held = held_out(replay);
    text = fmt::format(
        "Over {} measured rows to which nothing was fitted, the model's median error is {:.1f} %; {} are "
        "within 10 %.\n\n",
        held.rows, 100 * held.median, held.within_tenth);
  }
  text += kLegend;
  for (const ReplayedTable& table : replay.tables) text += table_text(table);
  return text + parameter_table(replay) + drop_text(replay);
}

std::string replay_records(const Replay& replay) {
  std::string lines;
  for (const ReplayedTable& table : replay.tables) {
    for (const Row& row : rows_of(table)) lines += json_line(record_of(table, row));
  }
  const DropTable& t = replay.file.drops;
  for (size_t r = 0; r < replay.drops.size(); ++r) {
    for (size_t f = 0; f < t.rows[r].factors.size(); ++f) {
      const ReplayedDrop& drop = replay.drops[r][f];
      lines += json_line({{"schema", "moehill/1"},
                          {"command", "replay"},
                          {"table", "drops"},
                          {"row", t.rows[r].name},
                          {"factor", t.rows[r].factors[f]},
                          {"published_percent", t.rows[r].percent[f]},
                          {"percent", drop.mean},
                          {"deviation", drop.deviation}});
    }
  }
  return lines;
}

}  // namespace moehill
