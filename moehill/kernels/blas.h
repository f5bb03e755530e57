// This header gives access to OpenBLAS, which it loads when a product first needs it and not when the program
// starts. A loaded OpenBLAS takes 128 MiB of address space for each core, and as much for each thread at its
// first product. If the system refuses the memory, OpenBLAS tries again for ever. A program that only prints
// its help must not hang there. Only kernels/ uses OpenBLAS: as a second backend (ragged_dot.cc), as a
// reference speed, and for the check.
//
//   const Blas& blas = blas_on_this_thread();
//   blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, n);
#pragma once

#include <cblas.h>

namespace moehill {

// Blas has the functions of OpenBLAS that this library calls.
struct Blas {
  decltype(&cblas_sgemm) sgemm;
  decltype(&cblas_dgemm) dgemm;
};

// Every thread must call this before its products, which then run on that thread alone. OpenMP has a number
// of threads for each calling thread. If a caller has not set it, OpenBLAS starts as many threads as there
// are cores, and several such callers share its buffers. On two cores that took fifty times as long, and
// about every second run gave wrong products. Throws std::runtime_error if the library is missing, and
// std::bad_alloc if there is no room for it.
const Blas& blas_on_this_thread();

}  // namespace moehill
