// Only x86 CPUs have AMX.
#include "moehill/kernels/amx_tile.h"

namespace moehill {

const AmxTile* amx_tile() { return nullptr; }

}  // namespace moehill
