// The critical path of a simulated step: the chain of work and messages that made it as long as it is.
#pragma once

#include <string>
#include <vector>

#include "moehill/simulation/engine.h"

namespace moehill {

// A piece of the path, in the order of time. The seconds of all pieces add up to the step's.
struct PathPiece {
  size_t stage = 0;   // of the program
  int device = 0;     // where it ends
  int waits_for = 0;  // whose begin of the stage it waited for; `device` itself if for nobody
  double begin = 0, end = 0;
};

// Follows the step back from the device that ends last. Work leads to the device's stage before; an exchange,
// where all devices meet, to the device that began it last.
std::vector<PathPiece> critical_path(const StepProgram& program, const Simulation& simulation);

}  // namespace moehill
