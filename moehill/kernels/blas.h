// OpenBLAS, which is loaded when a product first needs it. At its start it takes 128 MiB of address space for
// each core, then as many for each thread at its first product, and where the system refuses them it tries
// for ever: a program that only prints its help must not wait for that.
#pragma once

#include <cblas.h>

namespace moehill {

struct Blas {
  decltype(&cblas_sgemm) sgemm;
  decltype(&cblas_dgemm) dgemm;
};

// Every thread calls this before its products, which then run on that thread alone. The number of OpenMP
// threads is a thread's own variable: one that has not set it gets as many as there are cores, and several
// callers that do so share the buffers of the library. That took fifty times as long on two cores and gave
// wrong products in about every second run. Throws std::runtime_error where the library is missing, and
// std::bad_alloc where there is no room for it.
const Blas& blas_on_this_thread();

}  // namespace moehill
