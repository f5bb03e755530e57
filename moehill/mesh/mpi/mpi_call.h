// The one wrapper of MPI calls: a code other than success becomes an exception.
#pragma once

#include <mpi.h>

#include <stdexcept>

namespace moehill {

class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// check_mpi("MPI_Send", MPI_Send(...)): throws MpiError with the call, this process's rank in the job and
// MPI's text. The communicators and windows of this room return codes (MPI_ERRORS_RETURN).
void check_mpi(const char* call, int code);

}  // namespace moehill
