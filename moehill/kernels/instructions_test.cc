// An instruction is used only if both the CPU and the operating system allow it.
#include "moehill/kernels/instructions.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace moehill {
namespace {

// These are the cpuid words of Zen 4 and of Sapphire Rapids, as far as this code reads them.
constexpr CpuWords kZen4{.leaf7_ebx = 0xf1bf97a9, .leaf7_edx = 0x10000010, .leaf7_1_eax = 0x20, .xcr0 = 0xe7};
constexpr CpuWords kSapphireRapids{
    .leaf7_ebx = 0xf1bf07ab, .leaf7_edx = 0xffdd4432, .leaf7_1_eax = 0x1c30, .xcr0 = 0x600e7};

bool yes() { return true; }
bool no() { return false; }

TEST(Instructions, AreThoseOfCpuAndSystem) {
  EXPECT_TRUE(granted(kZen4, yes).avx512_bf16);
  EXPECT_FALSE(granted(kZen4, yes).amx_bf16);
  EXPECT_TRUE(granted(kSapphireRapids, yes).avx512_bf16);
  EXPECT_TRUE(granted(kSapphireRapids, yes).amx_bf16);
  EXPECT_FALSE(granted({}, yes).avx512_bf16);
  EXPECT_FALSE(granted({}, yes).amx_bf16);
}

TEST(Instructions, AreNotThereIfOneBitIsMissing) {
  for (const int bit : {16, 17, 30, 31}) {
    CpuWords words = kZen4;
    words.leaf7_ebx &= ~(1u << bit);
    EXPECT_FALSE(granted(words, yes).avx512_bf16) << bit;
  }
  CpuWords without_dot = kSapphireRapids;
  without_dot.leaf7_1_eax = 0x1c10;
  EXPECT_FALSE(granted(without_dot, yes).avx512_bf16);
  EXPECT_TRUE(granted(without_dot, yes).amx_bf16);
  for (const int bit : {22, 24}) {
    CpuWords words = kSapphireRapids;
    words.leaf7_edx &= ~(1u << bit);
    EXPECT_FALSE(granted(words, yes).amx_bf16) << bit;
    EXPECT_TRUE(granted(words, yes).avx512_bf16) << bit;
  }
}

TEST(Instructions, AreNotThereIfTheSystemDoesNotSaveTheirState) {
  for (const int bit : {1, 2, 5, 6, 7}) {
    CpuWords words = kZen4;
    words.xcr0 &= ~(uint64_t{1} << bit);
    EXPECT_FALSE(granted(words, yes).avx512_bf16) << bit;
  }
  for (const int bit : {17, 18}) {
    CpuWords words = kSapphireRapids;
    words.xcr0 &= ~(uint64_t{1} << bit);
    EXPECT_FALSE(granted(words, yes).amx_bf16) << bit;
  }
  EXPECT_FALSE(granted(kSapphireRapids, no).amx_bf16);
  EXPECT_TRUE(granted(kSapphireRapids, no).avx512_bf16);
}

// Linux lists the instructions that it found and did not switch off.
TEST(Instructions, AgreeWithLinux) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && line.rfind("flags", 0) != 0) {
  }
  if (!file) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  std::istringstream words(line);
  bool dot = false, tiles = false;
  for (std::string word; words >> word;) {
    dot |= word == "avx512_bf16";
    tiles |= word == "amx_bf16";
  }
  EXPECT_EQ(instructions().avx512_bf16, dot);
  EXPECT_TRUE(tiles || !instructions().amx_bf16);  // a listed one may still be refused to this process
}

}  // namespace
}  // namespace moehill
