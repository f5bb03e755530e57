// `none`: one device does all the work.
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

class SinglePath final : public ParallelPath {
 public:
  explicit SinglePath(const PathInputs& inputs)
      : ParallelPath(inputs, block_shape(inputs.config, 0), block_options(inputs.config),
                     block_share(inputs.config, 0)) {}

  void forward(Group& group, StageListener* listener) override {
    MatView base;
    if (block_.has_shared()) {
      block_.forward_shared(group.team(), operands_, y_, listener);
      base = y_;
    }
    block_.forward_routed(group.team(), operands_, base, y_, listener);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    std::fill_n(inputs_.dp, inputs_.config.shape.assignments(), 0.0f);
    MatView base;
    if (block_.has_shared()) {
      block_.backward_shared(group.team(), operands_, y_, dy_scale, dx_, listener);
      base = dx_;
    }
    block_.backward_routed(group.team(), operands_, y_, dy_scale, base, dx_, inputs_.dp, listener);
  }
};

}  // namespace

std::unique_ptr<ParallelPath> make_single_path(const PathInputs& inputs) {
  return std::make_unique<SinglePath>(inputs);
}

}  // namespace moehill
