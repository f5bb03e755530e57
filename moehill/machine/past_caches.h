// Copies that pass by the caches: for data that do not fit them, where a plain store first reads the line
// that it is about to overwrite. x86/ has the CPU's own stores for that, any_cpu/ stands in with plain ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moehill {

// Results are out of a device's caches anyway from so many bytes on that it reads and writes.
inline constexpr int64_t kPastCachesBytes = int64_t{32} << 20;

// Copies as std::memcpy does, past the caches; whoever synchronises with this thread afterwards sees the
// bytes.
void copy_past_caches(void* to, const void* from, size_t bytes);

}  // namespace moehill
