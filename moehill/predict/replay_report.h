// The report of `moehill replay published`: all tables with their predictions, and how far off they are.
//
//     const Replay replay = replay_published();
//     fmt::print("{}", replay_report(replay));
//     held_out(replay).median;   // error of measured rows that nothing was fitted to
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/replay_prediction.h"

namespace moehill {

// Replay is everything that the report shows.
struct Replay {
  ReplayFile file;
  std::vector<ReplayedTable> tables;             // of the file's tables, in order
  std::vector<std::vector<ReplayedDrop>> drops;  // [row][factor]
};
// Replays all tables of the file, or only table `only`. Calls `begins` with the name of each table before it
// is replayed. Throws InputError if there is no table of that name.
Replay replay_published(
    const std::optional<std::string>& only = std::nullopt,
    const std::function<void(const std::string&)>& begins = [](const std::string&) {});

// HeldOut is the median error, as a share of the published time, over the measured rows to which nothing was
// fitted.
struct HeldOut {
  int rows = 0, within_tenth = 0;
  double median = 0;
};
HeldOut held_out(const std::vector<const ReplayedTable*>& tables);
HeldOut held_out(const Replay& replay);

std::string replay_report(const Replay& replay);
// Returns one record for each row, and one for each share of drops.
std::string replay_records(const Replay& replay);

}  // namespace moehill
