// Copies that pass by the caches: for data that do not fit them, where a plain store first reads the line
// that it is about to overwrite. x86/ has the CPU's own stores for that, any_cpu/ stands in with plain ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moehill {

// From so many bytes read and written by one device on, results are out of its caches anyway.
inline constexpr int64_t kPastCachesBytes = int64_t{32} << 20;

// As std::memcpy; whoever synchronises with this thread afterwards sees the bytes.
void copy_past_caches(void* to, const void* from, size_t bytes);

}  // namespace moehill
