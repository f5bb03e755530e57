#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "moehill/kernels/instructions.h"

namespace moehill {
namespace {

// Reads CPUID and the state that the system saves (XGETBV) on x86.
constexpr uint32_t kOsXsave = 1u << 27;  // in ECX of leaf 1: the system lets programs use XGETBV

__attribute__((target("xsave"))) uint64_t state_saved() { return __builtin_ia32_xgetbv(0); }

}  // namespace

CpuWords read_cpu_words() {
  CpuWords words;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return words;
  words.xcr0 = state_saved();
  uint32_t last_subleaf = 0;
  if (__get_cpuid_count(7, 0, &last_subleaf, &words.leaf7_ebx, &ecx, &words.leaf7_edx) == 0) return words;
  if (last_subleaf >= 1) __get_cpuid_count(7, 1, &words.leaf7_1_eax, &ebx, &ecx, &edx);
  return words;
}

bool ask_for_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  // ARCH_REQ_XCOMP_PERM and the number of AMX's tile data (asm/prctl.h).
  constexpr long kRequestState = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace moehill
