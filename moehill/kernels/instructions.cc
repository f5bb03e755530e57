#include "moehill/kernels/instructions.h"

namespace moehill {
namespace {

constexpr bool has_all(uint64_t word, uint64_t bits) { return (word & bits) == bits; }

// The bits are from Intel's Software Developer's Manual, volume 1, chapters 13.1 and 15, and volume 2, CPUID.
constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL in EBX
constexpr uint32_t kAvx512Bf16 = 1u << 5;                                // in EAX of subleaf 1
constexpr uint32_t kAmx = 1u << 22 | 1u << 24;                           // AMX-BF16, AMX-TILE in EDX
constexpr uint64_t kVectorState = 1u << 1 | 1u << 2 | 7u << 5;           // SSE, AVX, AVX-512
constexpr uint64_t kTileState = 3u << 17;

}  // namespace

Instructions granted(const CpuWords& words, bool (*ask)()) {
  const bool vectors = has_all(words.leaf7_ebx, kAvx512) && has_all(words.xcr0, kVectorState);
  const bool tiles = has_all(words.leaf7_edx, kAmx) && has_all(words.xcr0, kTileState);
  return {.avx512_bf16 = vectors && has_all(words.leaf7_1_eax, kAvx512Bf16), .amx_bf16 = tiles && ask()};
}

const Instructions& instructions() {
  static const Instructions found = granted(read_cpu_words(), ask_for_tiles);
  return found;
}

}  // namespace moehill
