// OpenBLAS, loaded when a product first needs it and not when the program starts. When it is loaded it takes
// 128 MiB of address space for each core, and as much for each thread at its first product. If the system
// refuses, it tries again for ever, and a program that only prints its help must not hang in that. Only
// kernels/ uses it: as a second backend (ragged_dot.cc), as the yardstick, and in the check.
//
//   const Blas& blas = blas_on_this_thread();
//   blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, n);
#pragma once

#include <cblas.h>

namespace moehill {

// The functions of OpenBLAS that are used here.
struct Blas {
  decltype(&cblas_sgemm) sgemm;
  decltype(&cblas_dgemm) dgemm;
};

// Every thread must call this before its products; they then run on that thread alone. OpenMP's number of
// threads is a variable of each thread. A thread that has not set it gets as many threads as there are cores,
// and several such callers share the buffers of the library: on two cores that took fifty times as long, and
// about every second run gave wrong products. Throws std::runtime_error if the library is missing, and
// std::bad_alloc if there is no room for it.
const Blas& blas_on_this_thread();

}  // namespace moehill
