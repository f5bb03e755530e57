// Copies that do not go through the caches ("streaming stores"). They pay for data that are larger than the
// caches: a plain store first reads the line that it is about to overwrite, so it moves a third more bytes.
// x86/ uses the CPU's own instructions for it, any_cpu/ is a plain copy for other CPUs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moehill {

// A device that reads and writes at least so many bytes in one operation (32 MiB) finds its results outside
// of the caches anyway, so callers use copy_past_caches() from here on.
inline constexpr int64_t kPastCachesBytes = int64_t{32} << 20;

// Copies like std::memcpy, past the caches. A thread that synchronises with the calling thread afterwards
// sees the bytes.
void copy_past_caches(void* to, const void* from, size_t bytes);

}  // namespace moehill
