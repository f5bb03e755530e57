#include "moehill/simulation/step_program.h"

namespace moehill {

int64_t ByteMatrix::total() const {
  int64_t sum = 0;
  for (int from = 0; from < num_devices_; ++from) {
    for (int to = 0; to < num_devices_; ++to) sum += from == to ? 0 : at(from, to);
  }
  return sum;
}

int64_t StepProgram::total_bytes() const {
  int64_t sum = 0;
  for (const ProgramStage& stage : stages) {
    if (stage.is_exchange()) sum += stage.bytes.front().total();
  }
  return sum;
}

}  // namespace moehill
