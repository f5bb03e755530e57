#include "moehill/measure/comm_bytes.h"

#include <vector>

#include "moehill/base/partition.h"

namespace moehill {
namespace {

// owner[i] of n things in contiguous shares.
std::vector<int> owners(int64_t n, int num_devices) {
  std::vector<int> owner(n);
  for (int device = 0; device < num_devices; ++device) {
    const Range range = share(n, device, num_devices);
    for (int64_t i = range.begin; i < range.end; ++i) owner[i] = device;
  }
  return owner;
}

}  // namespace

int64_t comm_lower_bound_bytes(const BlockTensors& tensors, const Routing& routing, Pass pass,
                               int num_devices) {
  const std::vector<int> token_owner = owners(routing.num_tokens, num_devices);
  const std::vector<int> expert_owner = owners(routing.num_experts, num_devices);
  std::vector<int64_t> last_token(num_devices, -1);
  int64_t num_rows = 0;
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      const bool kept = tensors.kept == nullptr || tensors.kept[a] != 0;
      if (!kept) continue;
      const int device = expert_owner[routing.expert[a]];
      if (device == token_owner[t] || last_token[device] == t) continue;
      last_token[device] = t;
      ++num_rows;
    }
  }
  const int64_t row_bytes =
      tensors.shape.expert_hidden() * static_cast<int64_t>(dtype_bytes(tensors.shape.dtype));
  return num_rows * row_bytes * 2 * (pass == Pass::forward ? 1 : 2);
}

int64_t data_parallel_lower_bound_bytes(const MoeShape& shape, Pass pass, int num_devices) {
  if (pass == Pass::forward) return 0;
  return 2 * (num_devices - 1) * shape.weights() * static_cast<int64_t>(dtype_bytes(shape.dtype));
}

}  // namespace moehill
