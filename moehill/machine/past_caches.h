// This header copies without going through the caches ("streaming stores"). That pays for data that are
// larger than the caches: a plain store first reads the line that it is about to overwrite, so a plain copy
// reads and writes half as many bytes again. x86/ uses the CPU's own instructions; any_cpu/ is a plain copy
// for other CPUs.
//
//   copy_past_caches(to, from, bytes);   // for kPastCachesBytes or more
#pragma once

#include <cstddef>
#include <cstdint>

namespace moehill {

// A device that reads and writes at least this many bytes in one operation (32 MiB) finds its results outside
// of the caches anyway. So callers use copy_past_caches() for this size and larger ones.
inline constexpr int64_t kPastCachesBytes = int64_t{32} << 20;

// Copies like std::memcpy, past the caches. A thread that synchronises with the calling thread afterwards
// sees the bytes.
void copy_past_caches(void* to, const void* from, size_t bytes);

}  // namespace moehill
