// Job starts an example: with as many devices in one process as the first argument says, or, built with
// EXAMPLE_MPI, as one process of an MPI job. The library does not start MPI itself.
//
//     const Job job(argc, argv);
//     const moehill::Context context = job.context();
#pragma once

#include <cstdlib>

#include "moehill/moehill.hpp"
#ifdef EXAMPLE_MPI
#include <mpi.h>
#endif

class Job {
 public:
  Job(int argc, char** argv) {
#ifdef EXAMPLE_MPI
    (void)argc, (void)argv;
    int level = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
#else
    devices_ = argc > 1 ? std::atoi(argv[1]) : 1;
#endif
  }
  ~Job() {
#ifdef EXAMPLE_MPI
    MPI_Finalize();
#endif
  }
  moehill::Context context() const {
#ifdef EXAMPLE_MPI
    return moehill::Context::mpi(MPI_COMM_WORLD, {.threads_per_device = 1});
#else
    return moehill::Context({.devices = devices_, .threads_per_device = 1});
#endif
  }
  // Replaces n values by their sums over all processes, in every process.
  void sum([[maybe_unused]] double* values, [[maybe_unused]] int n) const {
#ifdef EXAMPLE_MPI
    MPI_Allreduce(MPI_IN_PLACE, values, n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
#endif
  }

 private:
  int devices_ = 1;
};
