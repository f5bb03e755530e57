// Another CPU than x86 has no vdpbf16ps.
#include "moehill/kernels/dot_tile.h"

namespace moehill {

const DotTile* avx512_dot_tile() { return nullptr; }

}  // namespace moehill
