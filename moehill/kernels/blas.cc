#include "moehill/kernels/blas.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <stdexcept>

namespace moehill {
namespace {

// Two buffers of 128 MiB, and the library itself.
constexpr int64_t kNeededBytes = int64_t{320} << 20;

void require_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const int64_t left = static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE);
  if (left >= kNeededBytes) return;
  throw std::runtime_error(
      fmt::format("OpenBLAS needs {} MB of address space, and the limit of this process leaves {} MB; raise "
                  "it by ulimit -v",
                  kNeededBytes >> 20, left >> 20));
}

Blas load() {
  require_address_space();
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
  omp_set_num_threads(1);
  return blas;
}

}  // namespace moehill
