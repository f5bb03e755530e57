// Checked records are records of earlier runs whose results passed their check. A run of the same point can
// take the check over if it leaves the same bits (bench --checked), which saves most of the time before its
// steps.
//
//     const std::vector<StoredJson> records = checked_records(store, point, round);
//     if (!records.empty()) arguments.insert(arguments.end(), {"--checked", file.write(records)});
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/store/store.h"

namespace moehill {

// Returns the parts of a record by which another run can take its check over; nothing if a check did not pass
// it, or if it is of a build that wrote no hashes of results.
std::optional<StoredJson> checked_parts(const StoredJson& record);

// Returns these parts of the records of an earlier run of this point, which has several if the point's
// options give several, such as both parallel modes. Empty: there is no such run. It looks at the earlier
// rounds of the point's experiment, and at points with the same identity in experiments that were started
// before.
std::vector<StoredJson> checked_records(Store& store, const StoredPoint& point, int64_t round);

// MemoryFile is a file without a name, which is gone when the last process closes it. A child can open it by
// its path.
class MemoryFile {
 public:
  MemoryFile() = default;
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  // Writes each value on a line in place of what the file had. Returns the path; "" if the system refuses.
  std::string write(const std::vector<StoredJson>& lines);

 private:
  int file_ = -1;
};

}  // namespace moehill
