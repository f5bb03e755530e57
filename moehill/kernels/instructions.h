// This header finds out which instructions for bf16 products this CPU has and the system lets this process
// use. Highway 1.0.3 has no target for them. So kernels that need such an instruction are in files of their
// own, compiled for it by a target attribute. They may be called only if instructions() grants it.
//
//   if (instructions().avx512_bf16) use(avx512_dot_tile());
#pragma once

#include <cstdint>

namespace moehill {

// Instructions has one flag for each instruction.
struct Instructions {
  bool avx512_bf16 = false;  // vdpbf16ps, dot products of bf16 pairs; it includes AVX-512 F, BW, DQ and VL
  bool amx_bf16 = false;     // tdpbf16ps, products of bf16 tiles
};

// Returns the instructions that this process may use. The first call finds them out. On Linux, a process must
// ask for the state of AMX's tiles; the first call does that for all threads.
const Instructions& instructions();

// CpuWords are the words in which an x86 CPU and the system describe themselves. All are zero on another CPU.
struct CpuWords {
  uint32_t leaf7_ebx = 0, leaf7_edx = 0;  // CPUID leaf 7, subleaf 0
  uint32_t leaf7_1_eax = 0;               // CPUID leaf 7, subleaf 1
  uint64_t xcr0 = 0;                      // register state that the system saves; 0 without XGETBV
};

// x86/ asks the CPU; any_cpu/ returns zeros.
CpuWords read_cpu_words();
// Asks the system for the state of AMX's tiles. Returns false if it refuses or does not know them.
bool ask_for_tiles();

// Returns the instructions that the words grant. It calls ask() only if the CPU has tiles by these words.
// Tests pass words of other CPUs.
Instructions granted(const CpuWords& words, bool (*ask)());

}  // namespace moehill
