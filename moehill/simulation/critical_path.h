// The critical path of a simulated step is the chain of work and messages that made the step as long as it
// is. It reads a finished simulation and simulates nothing.
//
//     for (const PathPiece& piece : critical_path(program, simulation))
//       fmt::print("{}: {} s\n", program.stages[piece.stage].name, piece.end - piece.begin);
#pragma once

#include <string>
#include <vector>

#include "moehill/simulation/engine.h"

namespace moehill {

// PathPiece is a piece of the path, in the order of time. The pieces together last as long as the step.
struct PathPiece {
  size_t stage = 0;  // index into the program's stages
  int device = 0;    // the device on which the piece ends
  // The device that began the stage last, for which this one waited; `device` itself if it waited for no
  // other.
  int waits_for = 0;
  double begin = 0, end = 0;
};

// Follows the step back from the device that ends last. Work leads to the previous stage of the same device.
// An exchange leads to the device that began it last.
std::vector<PathPiece> critical_path(const StepProgram& program, const Simulation& simulation);

}  // namespace moehill
