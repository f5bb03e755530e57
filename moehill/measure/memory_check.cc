#include "moehill/measure/memory_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

constexpr double kUsableShare = 0.9;

}  // namespace

std::vector<MemoryPart> predict_points_memory(const std::vector<Point>& points, int num_processes,
                                              CheckMode check) {
  std::vector<MemoryPart> sum;
  std::map<Distribution, std::vector<RunConfig>> runs_of;
  for (const Point& point : points) runs_of[point.distribution.kind].push_back(point.config);
  for (const auto& [kind, runs] : runs_of) {
    for (const MemoryPart& part : predict_memory(runs, num_processes)) {
      const auto same =
          std::find_if(sum.begin(), sum.end(), [&](const MemoryPart& p) { return p.name == part.name; });
      if (same == sum.end()) {
        sum.push_back(part);
      } else {
        same->bytes += part.bytes;
      }
    }
  }
  static const double cold_bytes = static_cast<double>(cold_cache_bytes(detect_topology()));
  MemoryPart checking{"the check", 0};
  for (const Point& point : points) {
    const RunConfig& run = point.config;
    const int num_threads = run.num_devices * run.threads_per_device;
    checking.bytes = std::max(checking.bytes, check_bytes(run.shape, run.block.pass, check, num_threads));
  }
  sum.push_back(checking);
  sum.push_back({"to empty the caches", cold_bytes});
  return sum;
}

double total_bytes(const std::vector<MemoryPart>& parts) {
  double total = 0;
  for (const MemoryPart& part : parts) total += part.bytes;
  return total;
}

void refuse_too_much_memory(const std::vector<MemoryPart>& parts, int64_t available_bytes,
                            const std::string& remedy) {
  const double needed = total_bytes(parts), usable = kUsableShare * static_cast<double>(available_bytes);
  if (needed <= usable) return;
  std::string list;
  for (const MemoryPart& part : parts)
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", part.name, gib(part.bytes));
  throw input_error("predicted memory", fmt::format("{} ({})", gib(needed), list),
                    fmt::format("at most {}, 90 % of the {} available", gib(usable),
                                gib(static_cast<double>(available_bytes))),
                    remedy);
}

}  // namespace moehill
