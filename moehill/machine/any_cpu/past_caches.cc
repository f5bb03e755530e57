// The stand-in for CPUs whose stores cannot pass by the caches: a plain copy.
#include "moehill/machine/past_caches.h"

#include <cstring>

namespace moehill {

void copy_past_caches(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace moehill
