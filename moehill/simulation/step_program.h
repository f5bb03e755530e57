// StepProgram: a step of the block as every device does it, stage after stage: seconds of work, or bytes from
// whom to whom. What the simulator runs; it knows no experts and no tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// Bytes from device to device, [P, P]; the diagonal is nothing that travels.
class ByteMatrix {
 public:
  explicit ByteMatrix(int num_devices)
      : num_devices_(num_devices),
        bytes_(static_cast<size_t>(num_devices) * static_cast<size_t>(num_devices)) {}
  int num_devices() const { return num_devices_; }
  int64_t& at(int from, int to) { return bytes_[index(from, to)]; }
  int64_t at(int from, int to) const { return bytes_[index(from, to)]; }
  int64_t total() const;  // without the diagonal

 private:
  size_t index(int from, int to) const {
    return static_cast<size_t>(from) * static_cast<size_t>(num_devices_) + static_cast<size_t>(to);
  }
  int num_devices_;
  std::vector<int64_t> bytes_;
};

// Work, an exchange, or both at once, which then hide each other.
struct ProgramStage {
  std::string name;  // as stages are named in a record
  bool backward = false;
  std::vector<double> seconds;    // [P]; empty without work
  std::vector<ByteMatrix> bytes;  // one, or empty without an exchange
  double memory_part = 0;         // of the seconds on the slowest device: waiting for memory
  bool is_exchange() const { return !bytes.empty(); }
  bool is_work() const { return !seconds.empty(); }
};

struct StepProgram {
  int num_devices = 1;
  std::vector<ProgramStage> stages;
  int64_t total_bytes() const;  // of all exchanges
};

}  // namespace moehill
