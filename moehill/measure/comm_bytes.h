// The least that expert or data parallelism must move, as a yardstick for what a path does move.
#pragma once

#include "moehill/moe/tensors.h"

namespace moehill {

// With tokens and experts in contiguous shares over P devices, each token's row of H values must reach every
// other device that holds one of its kept experts, and one row of partial sums must come back; a backward
// pass does the same with gradients. Bytes of all devices together; 0 with one device.
int64_t comm_lower_bound_bytes(const BlockTensors& tensors, Pass pass, int num_devices);

// With tokens in shares and all weights on every device: an all-reduce of the weights' gradients, 2 (P - 1)
// times their bytes; nothing forward.
int64_t data_parallel_lower_bound_bytes(const MoeShape& shape, Pass pass, int num_devices);

}  // namespace moehill
