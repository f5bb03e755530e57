// ParallelPath: one way to spread the block over devices. A path is a file and one line of make_path().
#pragma once

#include <memory>

#include "moehill/mesh/group.h"
#include "moehill/moe/block.h"
#include "moehill/parallel/operands.h"
#include "moehill/parallel/run.h"

namespace moehill {

// What one device holds while it steps.
struct Device {
  Block block;
  BlockOperands operands{};
  MatView y{}, dx{};             // [T, H], this device's copy of the whole result
  Matrix own_y{}, own_dx{};      // behind y and dx on devices that do not write the operands' own
  Matrix partial{};              // [T, H] f32: this device's part of a sum over devices
  Matrix stale{};                // tests only
  OwnedMlp own_shared_grad{};    // this device's part of the shared expert's gradients, before the sum
  MlpWeights shared_grad_sum{};  // where their sum goes
  std::vector<float> dp{},
      own_dp{};             // [T k] this device's part; where the sum goes on devices other than the first
  float* dp_sum = nullptr;  // where their sum goes
  std::vector<int64_t> reduce_offsets{};  // work space of size P + 1
};

class ParallelPath {
 public:
  virtual ~ParallelPath() = default;
  // SPMD: every device calls it with its own group and state. dy_scale = 2 / (T H).
  virtual void forward(Group& group, Device& device, StageListener* listener) const = 0;
  virtual void backward(Group& group, Device& device, float dy_scale, StageListener* listener) const = 0;
};

// What device `rank` of the run does of the block.
BlockShare block_share(const RunConfig& config, int rank);

std::unique_ptr<ParallelPath> make_path(const RunConfig& config);

std::unique_ptr<ParallelPath> make_single_path();
std::unique_ptr<ParallelPath> make_psum_path(SharedPlacement placement, Fault fault);

}  // namespace moehill
