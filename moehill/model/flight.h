// This header says which products a device computes while rows travel between nodes ("in flight"), and how
// long it waits after these products. The order of a step's parts decides this. model/predict.h adds up the
// times.
//
//   for (const Meanwhile& part : work_meanwhile(problem, Stage::dispatch)) covered += seconds_of(part.stage);
#pragma once

#include <span>
#include <vector>

#include "moehill/model/work.h"

namespace moehill {

// Meanwhile is a stage whose products run while rows travel: all its products, or only the products of the
// own tokens' rows.
struct Meanwhile {
  Stage stage;
  bool own_rows;
};

// True if rows travel without help of the devices' units: between nodes, and between chips. Within a node of
// cores the units themselves copy the rows.
bool rows_fly(const WorkProblem& problem, const ClusterTopology& topology, bool is_chip, int num_devices);
// Returns the products that run while the rows of a stage travel; empty if there are none.
std::vector<Meanwhile> work_meanwhile(const WorkProblem& problem, Stage stage);

// WavePass is the products of one pass of `fused` in waves of experts, which run while rows and sums travel.
// The first product is `up` in forward and `down_grad` in backward. The first product of own rows may begin
// before a wave has landed.
struct WavePass {
  double before = 0;                       // before it waits for any wave
  double first_own = 0, first_rest = 0;    // of the own tokens' rows, and of the others
  double second_own = 0, second_rest = 0;  // of a wave that has landed
  double after = 0;                        // after the sums of the last wave have been sent
  bool keeps_last_own = false;             // the last wave's own rows wait until its sums have been sent
};

// Returns true if a pass of the problem runs in the way that WavePass describes.
bool goes_in_waves(const WorkProblem& problem);
// Returns the products of such a pass. seconds_of(stage) gives the seconds of a stage's products. With
// experts of another width, the shared expert begins when all sums are back, so it covers nothing.
template <typename Seconds>
WavePass wave_pass(const WorkProblem& problem, bool backward, double own_part, const Seconds& seconds_of) {
  const auto shared = [&](Stage stage) { return problem.latent > 0 ? 0.0 : seconds_of(stage); };
  const auto own = [&](Stage stage) { return own_part * seconds_of(stage); };
  const auto rest = [&](Stage stage) { return (1 - own_part) * seconds_of(stage); };
  if (!backward)
    return {0,   own(Stage::up), rest(Stage::up), own(Stage::down), rest(Stage::down), shared(Stage::shared),
            true};
  return {shared(Stage::shared_grad),
          own(Stage::down_grad),
          rest(Stage::down_grad),
          own(Stage::up_grad),
          rest(Stage::up_grad),
          seconds_of(Stage::w2_grad) + seconds_of(Stage::w13_grad),
          false};
}

// Returns the mean number of experts of `device` that want a row which comes from another device; at least 1.
// Padding rows are not sent and do not count.
double experts_of_row(const PlanCounts& counts, int device);

// Returns [waves] the share of rows that a wave must wait for. A row is wanted by `experts_of_row` experts,
// and the first of them decides its wave. For sums the last expert decides, which gives the same shares in
// reverse order.
std::vector<double> shares_of_waves(int num_waves, double experts_of_row);

// FlightWaits are the seconds that units idle for rows and for sums. The link needs rows_s seconds for all
// rows and sums_s seconds for all sums.
struct FlightWaits {
  double rows = 0, sums = 0;
};
FlightWaits waits_of(const WavePass& pass, std::span<const double> shares, double rows_s, double sums_s);

}  // namespace moehill
