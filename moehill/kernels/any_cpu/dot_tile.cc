// Only x86 CPUs have vdpbf16ps.
#include "moehill/kernels/dot_tile.h"

namespace moehill {

const DotTile* avx512_dot_tile() { return nullptr; }

}  // namespace moehill
