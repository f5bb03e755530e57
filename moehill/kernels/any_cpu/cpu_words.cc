#include "moehill/kernels/instructions.h"

namespace moehill {

CpuWords read_cpu_words() { return {}; }

bool ask_for_tiles() { return false; }

}  // namespace moehill
