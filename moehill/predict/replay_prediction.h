// Replayed rows are published figures of other programs, with the time that the model predicts for them. Rows
// are routed and counted like the rows of any step. A level of the cluster takes the time of its bytes at its
// rate, and the levels work at the same time.
// The figures come from predict/replay_tables.h. predict_run() predicts steps of this program.
//
//     ReplayRoutings routings;
//     const ReplayedTable replayed = replay_table(table, routings);
//     replayed.rows[0].time_s;   // predicted seconds of the first row
#pragma once

#include <map>
#include <string>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/model/hardware.h"
#include "moehill/model/plan_counts.h"
#include "moehill/predict/binding.h"
#include "moehill/predict/replay_tables.h"

namespace moehill {

// ReplayBytes are bytes of a rank, on average: as the publishers count them, and those that cross links.
struct ReplayBytes {
  double logical = 0, node = 0, network = 0;
};

// ReplayedRow is what the model says of one row.
struct ReplayedRow {
  ReplayBytes bytes;
  double touched_experts = 0;  // experts of a rank that have rows
  // These are times of the fullest rank. Level::rank: rows that it stages; overhead: the start.
  LevelSeconds seconds{};
  double time_s = 0;
  // These are only for rows that are sent once to each node. The first is the time if the levels work one
  // after the other, as in the path `hierarchical`. The second is the time if the rows are sent once to each
  // rank, as in the path `ragged_a2a`. 0 for other rows.
  double in_turn_s = 0, once_a_rank_s = 0;
};

// ReplayCounts are the rows of a routing that is drawn for a table's row. Rows of many tokens are drawn for
// fewer tokens and multiplied by `scale`.
struct ReplayCounts {
  const PlanCounts& counts;
  double scale = 1;
};

// ReplayRoutings draws the routings of rows, each only once.
class ReplayRoutings {
 public:
  ReplayRoutings();
  ReplayCounts of(const ReplayTable& table, const ReplayRow& row, const Hardware& hardware);

 private:
  ThreadTeam team_;
  std::map<std::string, PlanCounts> counts_;
};

ReplayedRow replay_row(const ReplayTable& table, const ReplayRow& row, const Hardware& hardware,
                       const ReplayCounts& counted);

// Returns the published seconds; if there are none, the logical bytes over the published bandwidth.
double published_seconds(const ReplayRow& row, const ReplayedRow& replayed);

// FittedParameter is a parameter with the value that fits its row alone. With that value, and with the other
// parameters as they are, the row's predicted time is the published one. 0: no value does that, because
// another level binds.
struct FittedParameter {
  const ReplayTable* table = nullptr;
  const ReplayRow* row = nullptr;
  double used = 0, fitted = 0;  // in B/s of a rank, seconds, or times the fraction in the file
};

// ReplayedTable is a table with its rows by the model.
struct ReplayedTable {
  const ReplayTable* table = nullptr;
  Hardware hardware;
  std::vector<ReplayedRow> rows;
  std::vector<FittedParameter> parameters;
};
ReplayedTable replay_table(const ReplayTable& table, ReplayRoutings& routings);

// ReplayedDrop is the percent of the assignments that a capacity drops: mean and standard deviation over
// draws of the routing, [row][factor].
struct ReplayedDrop {
  double mean = 0, deviation = 0;
};
std::vector<std::vector<ReplayedDrop>> replay_drops(const DropTable& table);

}  // namespace moehill
