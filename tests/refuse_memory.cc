// A library for LD_PRELOAD that makes one rank of a job run out of memory: it refuses that rank large
// allocations once their sum exceeds a limit of which the rank knows nothing.
//
//     REFUSE_RANK=1 REFUSE_BYTES=600000000 LD_PRELOAD=librefuse_memory.so moehill bench ...
#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kLarge =
    size_t{2} << 20;  // of operands, work space, messages; not what a library starts with
std::atomic<long> taken{0};

long allowed() {
  const char *own = std::getenv("OMPI_COMM_WORLD_RANK"), *rank = std::getenv("REFUSE_RANK"),
             *bytes = std::getenv("REFUSE_BYTES");
  const bool is_refused =
      own != nullptr && rank != nullptr && bytes != nullptr && std::strcmp(own, rank) == 0;
  return is_refused ? std::atol(bytes) : __LONG_MAX__;
}

bool is_refused(size_t bytes) {
  if (bytes < kLarge) return false;
  const long size = static_cast<long>(bytes);
  if ((taken += size) <= allowed()) return false;
  taken -= size;
  errno = ENOMEM;
  return true;
}

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void* malloc(size_t bytes) noexcept {
  static auto* const real = next<void*(size_t)>("malloc");
  return is_refused(bytes) ? nullptr : real(bytes);
}

void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  static auto* const real = next<void*(void*, size_t, int, int, int, off_t)>("mmap");
  if (file < 0 && is_refused(bytes)) return MAP_FAILED;
  return real(address, bytes, protection, flags, file, offset);
}

int munmap(void* address, size_t bytes) noexcept {
  static auto* const real = next<int(void*, size_t)>("munmap");
  if (bytes >= kLarge) taken -= static_cast<long>(bytes);
  return real(address, bytes);
}
}
