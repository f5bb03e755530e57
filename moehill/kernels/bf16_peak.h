// This header has the loops of peak.h for bf16 instructions that Highway does not know. x86/ implements them;
// any_cpu/ has none.
#pragma once

#include <vector>

#include "moehill/kernels/peak.h"

namespace moehill {

// Returns the loops for the instructions that are granted here (instructions.h). If there are none, bf16 is
// multiplied as f32 on this CPU.
std::vector<PeakKernel> bf16_peak_kernels();

}  // namespace moehill
