// One thread for each call of the BLAS library, that of the caller.
#pragma once

#include <omp.h>

namespace moehill {

// To be called by every thread before its products. The number of OpenMP threads is a thread's own variable:
// one that has not set it gets as many as there are cores, and several callers that do so share the buffers
// of the library. That took fifty times as long on two cores and gave wrong products in about every second
// run.
inline void keep_blas_on_this_thread() { omp_set_num_threads(1); }

}  // namespace moehill
