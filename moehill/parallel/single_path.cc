// `none`: one device does all the work.
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

class SinglePath final : public ParallelPath {
 public:
  void forward(Group& group, Device& device, StageListener* listener) const override {
    MatView base;
    if (device.block.has_shared()) {
      device.block.forward_shared(group.team(), device.operands, device.y, listener);
      base = device.y;
    }
    device.block.forward_routed(group.team(), device.operands, base, device.y, listener);
  }

  void backward(Group& group, Device& device, float dy_scale, StageListener* listener) const override {
    MatView base;
    if (device.block.has_shared()) {
      device.block.backward_shared(group.team(), device.operands, device.y, dy_scale, device.dx, listener);
      base = device.dx;
    }
    device.block.backward_routed(group.team(), device.operands, device.y, dy_scale, base, device.dx,
                                 device.dp_sum, listener);
  }
};

}  // namespace

std::unique_ptr<ParallelPath> make_single_path() { return std::make_unique<SinglePath>(); }

}  // namespace moehill
