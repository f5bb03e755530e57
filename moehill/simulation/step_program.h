// StepProgram: a step of the block as every device does it, stage after stage: seconds of work, or bytes from
// whom to whom. What the simulator runs; it knows no experts and no tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/simulation/exchange.h"

namespace moehill {

// Work, an exchange, or both at once, which then hide each other.
struct ProgramStage {
  std::string name;  // as stages are named in a record
  bool backward = false;
  std::vector<double> seconds;      // [P]; empty without work
  std::vector<Exchange> exchanges;  // one after the other; empty without messages
  double memory_part = 0;           // of the seconds on the slowest device: waiting for memory
  bool is_exchange() const { return !exchanges.empty(); }
  bool is_work() const { return !seconds.empty(); }
  int64_t total_bytes() const;
};

struct StepProgram {
  int num_devices = 1;
  std::vector<ProgramStage> stages;
  int group = 1;                  // of its exchanges
  double memory_bytes = 0;        // of the device that needs the most
  int64_t total_bytes() const;    // of all exchanges
  int64_t network_bytes() const;  // of these, between nodes
  void forget_flows();            // frees what only a simulation needs
};

}  // namespace moehill
