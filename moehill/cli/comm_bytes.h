// The least that expert parallelism must move, as a yardstick for what a path does move.
#pragma once

#include "moehill/moe/tensors.h"

namespace moehill {

// With tokens and experts in contiguous shares over P devices, each token's row of H values must reach every
// other device that holds one of its kept experts, and one row of partial sums must come back; a backward
// pass does the same with gradients. Bytes of all devices together; 0 with one device.
int64_t comm_lower_bound_bytes(const BlockTensors& tensors, Pass pass, int num_devices);

}  // namespace moehill
