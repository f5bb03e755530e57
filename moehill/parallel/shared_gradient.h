// The shared expert's weight gradients where every device has a part of them: its own tokens'.
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/parallel/path.h"

namespace moehill {

// Owns this device's part. The sum over devices is left sharded: each device ends with the range of elements
// that it would update, in the run's own gradients.
class SharedGradient {
 public:
  explicit SharedGradient(const PathInputs& inputs);
  const MlpWeights& part() const { return part_.view; }
  void reduce(Group& group);
  void spoil_work_space(const MemoryVisitor& spoil) const { part_.view.visit(spoil); }

 private:
  OwnedMlp part_;
  MlpWeights sum_;
  std::vector<int64_t> offsets_;  // [P + 1]
};

}  // namespace moehill
