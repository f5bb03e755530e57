// Implementation of simulation/engine.h in a build without SimGrid: every call says how to get a simulator.
#include "moehill/simulation/engine.h"

#include "moehill/base/error.h"

namespace moehill {

void require_simulator() {
  throw input_error("simulate", "a build without SimGrid", "builds with -DMOEHILL_SIMGRID=ON",
                    "install libsimgrid-dev, then configure and build again");
}

Simulation simulate(const Cluster&, const StepProgram&, const SimulationProgress&) {
  require_simulator();
  return {};
}

}  // namespace moehill
