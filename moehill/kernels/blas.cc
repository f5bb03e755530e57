#include "moehill/kernels/blas.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <stdexcept>

#include "moehill/machine/memory.h"

namespace moehill {
namespace {

constexpr int64_t kBufferBytes = int64_t{128} << 20;

// Throws std::bad_alloc if the system does not give this much address space. Without this question OpenBLAS
// would try for ever.
void require_room(int64_t bytes) {
  if (!has_room(bytes)) throw std::bad_alloc();
}

Blas load() {
  // OpenBLAS takes a buffer for each core, and 64 MiB are enough for the library itself.
  require_room((int64_t{64} << 20) + kBufferBytes * std::max(1, omp_get_max_threads()));
  void* library = dlopen(MOEHILL_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw std::runtime_error(
        fmt::format("cannot load OpenBLAS ({}); install libopenblas0-openmp", dlerror()));
  const Blas blas{reinterpret_cast<decltype(Blas::sgemm)>(dlsym(library, "cblas_sgemm")),
                  reinterpret_cast<decltype(Blas::dgemm)>(dlsym(library, "cblas_dgemm"))};
  if (blas.sgemm == nullptr || blas.dgemm == nullptr)
    throw std::runtime_error(fmt::format("{} has no cblas_sgemm or no cblas_dgemm", MOEHILL_OPENBLAS));
  return blas;
}

}  // namespace

const Blas& blas_on_this_thread() {
  static const Blas blas = load();
  thread_local const bool has_buffer = (require_room(kBufferBytes), true);
  static_cast<void>(has_buffer);
  omp_set_num_threads(1);
  return blas;
}

}  // namespace moehill
