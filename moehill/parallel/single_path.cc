// `none`: one device does all the work.
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

class SinglePath final : public ParallelPath {
 public:
  using ParallelPath::ParallelPath;

  void forward(Group& group, StageListener* listener) override { forward_alone(group.team(), listener); }
  void backward(Group& group, float dy_scale, StageListener* listener) override {
    backward_alone(group.team(), dy_scale, inputs_.dp, listener);
  }
};

}  // namespace

std::unique_ptr<ParallelPath> make_single_path(const PathInputs& inputs) {
  return std::make_unique<SinglePath>(inputs);
}

}  // namespace moehill
