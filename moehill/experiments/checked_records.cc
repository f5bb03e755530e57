#include "moehill/experiments/checked_records.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "moehill/base/error.h"
#include "moehill/record/record.h"

namespace moehill {
namespace {

// Returns the records of a point; none if one of them is damaged. A sweep can do without them, and reports
// say what is wrong with them.
std::vector<StoredRecord> records_if_readable(Store& store, int64_t point_id) {
  try {
    return store.records(point_id);
  } catch (const InputError&) {
    return {};
  }
}

}  // namespace

std::optional<StoredJson> checked_parts(const StoredJson& record) {
  if (!has_checked_bits(record)) return std::nullopt;
  std::optional<StoredJson> parts(std::in_place);
  for (const char* part : {"schema", "process", "config", "check", "hash"})
    (*parts)[part] = part_of<Json>(record, part);
  return parts;
}

std::vector<StoredJson> checked_records(Store& store, const StoredPoint& point, int64_t round) {
  for (const StoredPoint& same : store.points_with(point.identity)) {
    if (same.experiment_id > point.experiment_id) continue;
    std::vector<StoredJson> found;
    int64_t found_in = 0;  // the round
    for (const StoredRecord& record : records_if_readable(store, same.id)) {
      const bool is_earlier = same.experiment_id < point.experiment_id || record.round < round;
      if (!is_earlier || (!found.empty() && record.round != found_in)) continue;
      std::optional<StoredJson> parts = checked_parts(record.json);
      if (!parts) continue;
      found.push_back(*std::move(parts));
      found_in = record.round;
    }
    if (!found.empty()) return found;
  }
  return {};
}

MemoryFile::~MemoryFile() {
  if (file_ >= 0) close(file_);
}

std::string MemoryFile::write(const std::vector<StoredJson>& lines) {
  // The file has no flag that closes it in a child, since the child reads it.
  if (file_ < 0) file_ = memfd_create("checked", 0);
  if (file_ < 0 || ftruncate(file_, 0) != 0) return "";
  std::string text;
  for (const StoredJson& line : lines) text += json_line(line);
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = pwrite(file_, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (written <= 0) return "";
    done += static_cast<size_t>(written);
  }
  return fmt::format("/proc/self/fd/{}", file_);
}

}  // namespace moehill
