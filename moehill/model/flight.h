// Flights: what a device computes while rows are on their way between nodes, by the order of a step's parts.
#pragma once

#include <span>
#include <vector>

#include "moehill/model/work.h"

namespace moehill {

// Products of a stage that run meanwhile: all of them, or those of the own tokens' rows.
struct Meanwhile {
  Stage stage;
  bool own_rows;
};

// True if rows travel without the devices' units: between nodes, and between chips. Within a node of cores
// the units themselves copy.
bool rows_fly(const WorkProblem& problem, const ClusterTopology& topology, bool is_chip, int num_devices);
// The products that cover the rows of a stage; empty: none.
std::vector<Meanwhile> work_meanwhile(const WorkProblem& problem, Stage stage);

// `fused` in waves of experts: the products of a pass that fills the flights of its rows and sums. In forward
// the first product is `up`, in backward `down_grad`; own rows' may go ahead of a wave that has not landed.
struct WavePass {
  double before = 0;                       // before any wave is waited for
  double first_own = 0, first_rest = 0;    // of the own tokens' rows, and of the others'
  double second_own = 0, second_rest = 0;  // of a wave that has landed
  double after = 0;                        // after the last wave's sums have left
  bool keeps_last_own = false;             // the last wave's own rows wait until its sums have left
};

// True if a pass goes as a WavePass does.
bool goes_in_waves(const WorkProblem& problem);
// The products of such a pass; seconds_of(stage) are those of a stage's products. Beside experts of another
// width the shared expert begins when all sums are back.
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

// Experts of `device` that want a row which has come from another device, in the mean; at least 1. Padding is
// no row that was sent.
double experts_of_row(const PlanCounts& counts, int device);

// [waves] the part of the rows whose first of `experts_of_row` experts is in a wave; of sums by their last
// one it is the same from the end.
std::vector<double> shares_of_waves(int num_waves, double experts_of_row);

// Seconds that the units idle for rows and for sums, which take so long on the link in all.
struct FlightWaits {
  double rows = 0, sums = 0;
};
FlightWaits waits_of(const WavePass& pass, std::span<const double> shares, double rows_s, double sums_s);

}  // namespace moehill
