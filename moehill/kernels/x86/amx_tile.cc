// The AMX tile on the tile registers of the CPU.
#include "moehill/kernels/amx_tile.h"

#include "moehill/kernels/amx_tile-inl.h"
#include "moehill/kernels/instructions.h"
#include "moehill/kernels/x86/amx_registers.h"

namespace moehill {

const AmxTile* amx_tile() { return instructions().amx_bf16 ? &kAmxTileOf<TileOps> : nullptr; }

}  // namespace moehill
