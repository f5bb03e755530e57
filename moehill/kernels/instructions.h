// The instructions for bf16 products that this CPU has and the system lets this process use. Highway 1.0.3
// has no target for them, so kernels that need them are files of their own, compiled for the instruction by a
// target attribute and called only where it is granted.
#pragma once

#include <cstdint>

namespace moehill {

struct Instructions {
  bool avx512_bf16 = false;  // dot products of bf16 pairs, vdpbf16ps, with AVX-512 F, BW, DQ and VL
  bool amx_bf16 = false;     // products of bf16 tiles, tdpbf16ps
};

// Instructions that this process may use are found out once. On Linux a process has to ask for the state of
// AMX's tiles: the first call does that, for all threads.
const Instructions& instructions();

// The words in which an x86 CPU and the system describe themselves; all zero on another CPU.
struct CpuWords {
  uint32_t leaf7_ebx = 0, leaf7_edx = 0;  // CPUID leaf 7, subleaf 0
  uint32_t leaf7_1_eax = 0;               // CPUID leaf 7, subleaf 1
  uint64_t xcr0 = 0;                      // register state that the system saves; 0 without XGETBV
};

// x86/ asks the CPU, any_cpu/ stands in.
CpuWords read_cpu_words();
// Asks the system for the state of AMX's tiles; false where it refuses or knows none.
bool ask_for_tiles();

// The instructions that the words grant. Tiles are asked for only if the words have them.
Instructions granted(const CpuWords& words, bool (*ask)());

}  // namespace moehill
