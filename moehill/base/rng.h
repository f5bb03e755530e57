// This header has counter-based random numbers: every value is a function of (seed, stream, index) and of
// nothing else. So a tensor has the same values for any number of devices and threads, and any element can be
// made without the elements before it. The numbers are not for cryptography.
//
// The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
// easy as 1, 2, 3", SC11). The key is (seed, stream), the counter is the 64-bit block index; one block gives
// two 32-bit words.
//
//   const double u = random_uniform(seed, Stream::kPopularity, expert);
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace moehill {

// Each tensor or purpose has a Stream. Its number decides the values that a seed gives, so an existing number
// never changes; new streams get new numbers.
enum class Stream : uint32_t {
  kX = 1,
  kW1,
  kW2,
  kW3,
  kS1,
  kS2,
  kS3,
  kLogits,
  kRunLengths,
  kRunExperts,
  kSampleRows,
  kBootstrap,
  kRouter,
  kExpertOrder,
  kDeals,
  kProjection,
  kDecoy,
  kRouterBias,
  kExpertScale,
  kHashTable,
  kTokenIds,
  kOperandCheck,
  kPopularity = 32,
  kGammaNormal,
  kSteps,
  kB1,
  kB2,
  kB3,
  kSharedGate,
  kRouterWeights,
  kLatentDown,
  kLatentUp,
  kLatentNorm,
};

inline constexpr int kThreefryRotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
inline constexpr uint32_t kThreefryParity = 0x1BD11BDA;

// Returns the two 32-bit words of block number `counter`.
inline std::array<uint32_t, 2> threefry(uint32_t seed, Stream stream, uint64_t counter) {
  const uint32_t key[3] = {seed, static_cast<uint32_t>(stream),
                           kThreefryParity ^ seed ^ static_cast<uint32_t>(stream)};
  uint32_t x0 = static_cast<uint32_t>(counter) + key[0];
  uint32_t x1 = static_cast<uint32_t>(counter >> 32) + key[1];
  for (int round = 0; round < 20; ++round) {
    const int rotation = kThreefryRotations[round % 8];
    x0 += x1;
    x1 = (x1 << rotation) | (x1 >> (32 - rotation));
    x1 ^= x0;
    if (round % 4 == 3) {
      const uint32_t injection = static_cast<uint32_t>(round / 4 + 1);
      x0 += key[injection % 3];
      x1 += key[(injection + 1) % 3] + injection;
    }
  }
  return {x0, x1};
}

// Maps 32 random bits to (0, 1). It takes the upper 23 bits and adds a half, so that neither 0 nor 1 is
// reached.
inline double uniform_from_bits(uint32_t bits) { return (static_cast<double>(bits >> 9) + 0.5) * 0x1p-23; }

// Returns a number that is uniform in (0, 1).
inline double random_uniform(uint32_t seed, Stream stream, uint64_t index) {
  return uniform_from_bits(threefry(seed, stream, index)[0]);
}

// Returns a standard normal number, by Box-Muller from the two words of block `index`. The vectorised fill of
// tensors (kernels/random_fill.h) numbers its blocks differently, so the two do not give the same values.
inline double random_normal(uint32_t seed, Stream stream, uint64_t index) {
  const auto [a, b] = threefry(seed, stream, index);
  return std::sqrt(-2.0 * std::log(uniform_from_bits(a))) *
         std::cos(6.283185307179586 * uniform_from_bits(b));
}

}  // namespace moehill
