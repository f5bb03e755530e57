#include "moehill/parallel/shared_gradient.h"

namespace moehill {

SharedGradient::SharedGradient(const PathInputs& inputs)
    : sum_(inputs.weights.shared_grad), offsets_(static_cast<size_t>(inputs.config.num_devices) + 1) {
  const WeightKey key = weight_key(inputs.config);
  part_ = make_mlp(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
}

void SharedGradient::reduce(Group& group) {
  const WeightView* parts[] = {&part_.view.up[0], &part_.view.up[1], &part_.view.down};
  const WeightView* sums[] = {&sum_.up[0], &sum_.up[1], &sum_.down};
  for (int i = 0; i < 3; ++i) {
    if (sums[i]->data == nullptr) continue;
    for (int r = 0; r <= group.size(); ++r)
      offsets_[static_cast<size_t>(r)] = sums[i]->group_elements() * r / group.size();
    const int64_t begin = offsets_[static_cast<size_t>(group.rank())];
    char* output =
        static_cast<char*>(sums[i]->data) + static_cast<size_t>(begin) * dtype_bytes(sums[i]->dtype);
    group.reduce_scatter(parts[i]->data, parts[i]->dtype, offsets_, output, sums[i]->dtype);
  }
}

}  // namespace moehill
