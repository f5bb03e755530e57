// The build without SimGrid: there is no simulator, and every call says how to get one.
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
