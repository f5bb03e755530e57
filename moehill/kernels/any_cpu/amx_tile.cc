// Another CPU than x86 has no AMX.
#include "moehill/kernels/amx_tile.h"

namespace moehill {

const AmxTile* amx_tile() { return nullptr; }

}  // namespace moehill
