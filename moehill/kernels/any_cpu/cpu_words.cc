#include "moehill/kernels/instructions.h"

namespace moehill {

// Other CPUs than x86 have no such words.
CpuWords read_cpu_words() { return {}; }

bool ask_for_tiles() { return false; }

}  // namespace moehill
