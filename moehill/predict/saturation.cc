// Implementation of predict/saturation.h.
#include "moehill/predict/saturation.h"

#include <fmt/format.h>

#include <numeric>

#include "moehill/base/table.h"

namespace moehill {
namespace {

// Returns the seconds that all devices together work on a token.
double work_of_token(const SimulatedStep& step) {
  double sum = 0;
  for (const ProgramStage& stage : step.program.stages)
    sum += std::accumulate(stage.seconds.begin(), stage.seconds.end(), 0.0);
  return sum / static_cast<double>(step.tokens);
}

// Returns a text such as "60 experts of 68 rows".
std::string experts_of_device(const SimulatedStep& step) {
  const int shares = is_ep(step.path) ? step.num_devices : 1,
            sources = is_ep(step.path) ? 1 : step.num_devices;
  const int experts = (step.experts + shares - 1) / shares;
  return fmt::format("{} of {:.0f} rows", count_text(experts, "expert"),
                     static_cast<double>(step.assignments) / step.experts / sources);
}

}  // namespace

double scaling_efficiency(const SimulatedStep& step, const SimulatedStep& smallest) {
  return step.tokens_per_s() / step.num_devices / (smallest.tokens_per_s() / smallest.num_devices);
}

std::string saturation_text(const SimulatedStep& step) {
  if (!is_ep(step.path) || step.num_devices <= step.experts) return "";
  const int idle = step.num_devices - step.experts;
  return fmt::format(
      "saturated: {} of the {} devices {} no expert, there {} {}; the fullest device has {:.1f} times the "
      "mean of all, and more devices do not take rows from it\n",
      idle, step.num_devices, idle == 1 ? "has" : "have", step.experts == 1 ? "is" : "are", step.experts,
      step.device_max_over_mean);
}

std::string efficiency_text(const std::vector<SimulatedStep>& steps) {
  const SimulatedStep& least = steps.front();
  const SimulatedStep* best = &least;
  for (const SimulatedStep& step : steps) {
    if (scaling_efficiency(step, least) > scaling_efficiency(*best, least)) best = &step;
  }
  if (best == &least || scaling_efficiency(*best, least) < 1.0005) return "";
  const std::string above =
      fmt::format("efficiency {:.3f} at {} is above 1: ", scaling_efficiency(*best, least),
                  count_text(best->num_devices, "device"));
  const double work = work_of_token(*best), work_of_least = work_of_token(least);
  // There are two reasons for more than perfect scaling: a smaller maximum of the load, or less work for each
  // token.
  if (work >= work_of_least) {
    return above +
           fmt::format("the fullest device has {:.3f} times the mean load, at {} it has {:.3f} times\n",
                       best->device_max_over_mean, least.num_devices, least.device_max_over_mean);
  }
  return above + fmt::format(
                     "a token takes {:.3f} us of work there and {:.3f} us at {}, because a device has {} and "
                     "not {}: products of more rows come nearer to the peak, and fewer weights are read\n",
                     1e6 * work, 1e6 * work_of_least, least.num_devices, experts_of_device(*best),
                     experts_of_device(least));
}

}  // namespace moehill
