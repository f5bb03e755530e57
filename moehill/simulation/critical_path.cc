// Implementation of simulation/critical_path.h.
#include "moehill/simulation/critical_path.h"

#include <algorithm>

namespace moehill {
namespace {

// Returns the device that began last; `device` itself if no other began later.
int last_to_begin(const std::vector<TimeSpan>& intervals, int device) {
  int last = device;
  for (size_t d = 0; d < intervals.size(); ++d) {
    if (intervals[d].begin > intervals[static_cast<size_t>(last)].begin) last = static_cast<int>(d);
  }
  return last;
}

}  // namespace

std::vector<PathPiece> critical_path(const StepProgram& program, const Simulation& simulation) {
  std::vector<PathPiece> pieces;
  if (program.stages.empty()) return pieces;
  const std::vector<TimeSpan>& last = simulation.stages.back();
  int device =
      static_cast<int>(std::max_element(last.begin(), last.end(),
                                        [](const TimeSpan& a, const TimeSpan& b) { return a.end < b.end; }) -
                       last.begin());
  double end = last[static_cast<size_t>(device)].end;
  // The loop walks backwards through the stages. In an exchange all devices meet, so the device that came
  // last is the cause.
  for (size_t s = program.stages.size(); s-- > 0;) {
    const std::vector<TimeSpan>& intervals = simulation.stages[s];
    const ProgramStage& stage = program.stages[s];
    const int cause = stage.is_exchange() ? last_to_begin(intervals, device) : device;
    const double begin = intervals[static_cast<size_t>(cause)].begin;
    pieces.push_back({s, device, cause, begin, end});
    device = cause;
    end = begin;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace moehill
