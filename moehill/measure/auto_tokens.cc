// Implementation of measure/auto_tokens.h.
#include "moehill/measure/auto_tokens.h"

#include "moehill/measure/memory_check.h"

namespace moehill {
namespace {

constexpr int64_t kFewest = 256, kMost = 8192;
constexpr double kBudgetSeconds = 90;  // leaves the rest of two minutes to operands, checks and luck
constexpr double kEfficiency = 0.6;    // share of the peak, on the low side
// Each of these passes over the weights once: forward, backward for dx, writing the gradients, clearing them.
constexpr double kWeightSweeps = 4;
constexpr double kCheckSecondsPerPoint = 3;  // with --check sample

double weight_bytes(const MoeShape& s) {
  return static_cast<double>(s.weights()) * static_cast<double>(dtype_bytes(s.dtype));
}

}  // namespace

double estimate_step_seconds(const Point& point, const MachineSpeed& speed) {
  const MoeShape& shape = point.config.shape;
  const double flops = model_flops(shape, point.config.block.pass, shape.assignments());
  return flops / (kEfficiency * speed.flops) + kWeightSweeps * weight_bytes(shape) / speed.bytes_per_s;
}

double estimate_seconds(const std::vector<Point>& points, int64_t num_rounds, const MachineSpeed& speed) {
  double seconds = 0;
  for (const Point& point : points) {
    const double steps = static_cast<double>(num_rounds + kUntimedSteps);
    seconds += kCheckSecondsPerPoint + estimate_step_seconds(point, speed) * steps;
  }
  return seconds;
}

int64_t choose_tokens(const std::function<std::vector<Point>(int64_t tokens)>& points_of, int64_t num_rounds,
                      const MachineSpeed& speed, double usable_bytes) {
  // The largest number of tokens that fits wins: users want large steps, and overheads dominate small ones.
  for (int64_t tokens = kMost; tokens > kFewest; tokens /= 2) {
    const std::vector<Point> points = points_of(tokens);
    const bool fits = total_bytes(predict_points_memory(points)) <= usable_bytes;
    if (fits && estimate_seconds(points, num_rounds, speed) <= kBudgetSeconds) return tokens;
  }
  return kFewest;
}

}  // namespace moehill
