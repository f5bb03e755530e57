// This is a plain copy, for CPUs whose stores cannot bypass the caches.
#include "moehill/machine/past_caches.h"

#include <cstring>

namespace moehill {

void copy_past_caches(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace moehill
