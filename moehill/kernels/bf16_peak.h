// The loops of peak.h for instructions that Highway does not know. x86/ has them, any_cpu/ stands in.
#pragma once

#include <vector>

#include "moehill/kernels/peak.h"

namespace moehill {

// The best of the instructions granted here (instructions.h); none: bf16 is multiplied as f32.
std::vector<PeakKernel> bf16_peak_kernels();

}  // namespace moehill
