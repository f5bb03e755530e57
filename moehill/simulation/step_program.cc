// Implementation of simulation/step_program.h.
#include "moehill/simulation/step_program.h"

namespace moehill {

int64_t ProgramStage::total_bytes() const {
  int64_t sum = 0;
  for (const Exchange& exchange : exchanges) sum += exchange.sums.total;
  return sum;
}

int64_t StepProgram::total_bytes() const {
  int64_t sum = 0;
  for (const ProgramStage& stage : stages) sum += stage.total_bytes();
  return sum;
}

int64_t StepProgram::network_bytes() const {
  int64_t sum = 0;
  for (const ProgramStage& stage : stages) {
    for (const Exchange& exchange : stage.exchanges) sum += exchange.sums.network;
  }
  return sum;
}

void StepProgram::forget_flows() {
  for (ProgramStage& stage : stages) {
    for (Exchange& exchange : stage.exchanges)
      exchange = {.sends = {}, .num_received = {}, .own = {}, .sums = exchange.sums};
  }
}

}  // namespace moehill
