// FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923): a hash against chance, not against malice.
#pragma once

#include <cstdint>

namespace moehill {

inline constexpr uint64_t kFnvStart = 0xcbf29ce484222325u;
constexpr uint64_t fnv1a(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x100000001b3u; }

}  // namespace moehill
