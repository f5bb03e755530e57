// The report of `moehill replay published`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/replay_prediction.h"

namespace moehill {

struct Replay {
  ReplayFile file;
  std::vector<ReplayedTable> tables;             // of the file's, in order
  std::vector<std::vector<ReplayedDrop>> drops;  // [row][factor]
};
// All tables of the file, or the one of that name. Throws InputError for a name that is none of them.
Replay replay_published(const std::optional<std::string>& only = std::nullopt);

// Median of the errors, as shares of the published times, of measured rows that nothing was fitted to.
struct HeldOut {
  int rows = 0, within_tenth = 0;
  double median = 0;
};
HeldOut held_out(const std::vector<const ReplayedTable*>& tables);
HeldOut held_out(const Replay& replay);

std::string replay_report(const Replay& replay);
// One record a row, one a share of drops.
std::string replay_records(const Replay& replay);

}  // namespace moehill
