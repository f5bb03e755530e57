#include "moehill/measure/read_passes.h"

#include <algorithm>

#include "moehill/quiet/yardstick.h"

namespace moehill {

// Processes may begin at slightly different times, so all of them together took at least as long as the
// longest of them. Therefore the rate by the longest time is never too low.
double fastest_pass(const std::vector<std::vector<double>>& processes) {
  double fastest = 0;
  for (size_t pass = 0; !processes.empty() && pass + 1 < processes.front().size(); pass += 2) {
    std::vector<Burst> together;
    for (const std::vector<double>& process : processes)
      together.push_back({process.at(pass), 0, process.at(pass + 1)});
    fastest = std::max(fastest, rate_together(together));
  }
  return fastest;
}

}  // namespace moehill
