// This header hashes integers by FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923). The hash detects
// accidental differences, such as two processes with different options. It does not protect against someone
// who wants a collision.
//
//   uint64_t hash = kFnvStart;
//   for (const int32_t id : ids) hash = fnv1a(hash, static_cast<uint64_t>(id));
#pragma once

#include <cstdint>

namespace moehill {

inline constexpr uint64_t kFnvStart = 0xcbf29ce484222325u;
constexpr uint64_t fnv1a(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x100000001b3u; }

}  // namespace moehill
