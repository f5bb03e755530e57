#include "moehill/measure/overlap.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/table.h"

namespace moehill {

Overlap overlap_of(std::span<const double> computation, std::span<const double> communication,
                   std::span<const double> both) {
  std::vector<double> hidden;
  const size_t n = std::min({computation.size(), communication.size(), both.size()});
  for (size_t i = 0; i < n; ++i) {
    const double smaller = std::min(computation[i], communication[i]);
    hidden.push_back((computation[i] + communication[i] - both[i]) / smaller);
  }
  const auto median = [](std::span<const double> s) { return median_of({s.begin(), s.end()}); };
  return {median(computation), median(communication), median(both), summarize(hidden)};
}

std::vector<Point> with_parts(const std::vector<Point>& points) {
  std::vector<Point> all;
  for (const Point& point : points) {
    all.push_back(point);
    if (point.config.num_devices == 1) continue;
    for (const StepPart part : {StepPart::computation, StepPart::communication}) {
      Point alone = point;
      alone.config.block.part = part;
      alone.label += fmt::format(" {} alone", name_of(part));
      alone.folder += fmt::format("_{}-alone", name_of(part));
      all.push_back(alone);
    }
  }
  return all;
}

std::string overlap_line(const std::string& label, const Overlap& o) {
  return fmt::format(
      "{}: computation alone {:.2f} ms, communication alone {:.2f} ms, both {:.2f} ms (medians): overlap "
      "{:.2f}{} of the smaller, the median of {} own\n",
      label, 1e3 * o.computation, 1e3 * o.communication, 1e3 * o.both, o.hidden.median,
      interval_text(o.hidden.interval, "{:.2f}"), count_text(o.hidden.n, "round's", "rounds'"));
}

}  // namespace moehill
