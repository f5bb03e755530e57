// StepProgram is a step of the block as every device does it, stage after stage: seconds of work, or bytes
// from device to device. The simulator runs a StepProgram, which knows no experts and no tokens.
//
//     StepProgram program = build_program(problem, counts, hardware);
//     for (const ProgramStage& stage : program.stages)
//       fmt::print("{}: {} bytes\n", stage.name, stage.total_bytes());
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/simulation/exchange.h"

namespace moehill {

// ProgramStage is work, an exchange, or both at once, which then hide each other.
struct ProgramStage {
  std::string name;  // as stages are named in a record
  bool backward = false;
  std::vector<double> seconds;      // [P]; empty if there is no work
  std::vector<Exchange> exchanges;  // one after the other; empty if there are no messages
  // The part of the seconds on the slowest device that waits for memory.
  double memory_part = 0;
  bool is_exchange() const { return !exchanges.empty(); }
  bool is_work() const { return !seconds.empty(); }
  int64_t total_bytes() const;
};

// StepProgram is all stages of a step.
struct StepProgram {
  int num_devices = 1;
  std::vector<ProgramStage> stages;
  int group = 1;                  // devices of a group in its exchanges
  double memory_bytes = 0;        // of the device that needs the most
  int64_t total_bytes() const;    // of all exchanges
  int64_t network_bytes() const;  // the part of them between nodes
  void forget_flows();            // frees what only a simulation needs
};

}  // namespace moehill
