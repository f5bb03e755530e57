#include "moehill/kernels/bf16_peak.h"

namespace moehill {

// Other CPUs than x86 have no bf16 loops here.
std::vector<PeakKernel> bf16_peak_kernels() { return {}; }

}  // namespace moehill
