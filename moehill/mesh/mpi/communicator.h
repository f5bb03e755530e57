// This header is the library's way to MPI: check_mpi(), through which every call goes, and Communicator,
// which owns an MPI_Comm. Only moehill/mesh includes <mpi.h>.
//
//   check_mpi("MPI_Barrier", MPI_Barrier(comm.get()));
#pragma once

#include <mpi.h>

#include <stdexcept>

#include "moehill/mesh/nodes.h"

namespace moehill {

// MpiError says that a call of MPI has failed.
class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws MpiError, with the call, this process's rank in the job and MPI's own text, unless the code is
// MPI_SUCCESS. The communicators and windows of moehill/mesh return codes (MPI_ERRORS_RETURN), so that a
// failed call comes here.
void check_mpi(const char* call, int code);

// Communicator owns an MPI_Comm. All of its processes make and destroy it together. If it is destroyed while
// an exception unwinds, it does not free the MPI_Comm, because that would wait for the other processes. It
// inherits the error handler of the communicator from which it is made.
class Communicator {
 public:
  // Returns a copy of `comm`.
  static Communicator duplicate_of(MPI_Comm comm);
  // Returns the processes of `comm` that share memory with this one, in the order of `comm`.
  static Communicator node_of(MPI_Comm comm);
  // Returns the processes of `comm` that give the same colour.
  static Communicator part_of(MPI_Comm comm, int colour);

  ~Communicator();
  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&&) = delete;

  MPI_Comm get() const { return comm_; }
  int rank() const;
  int size() const;
  // Keeps the MPI_Comm from being freed. After a failure, messages are on their way that no rank will
  // receive, and a later communicator could get the same context and receive them. All of its processes must
  // call this.
  void keep() { kept_ = true; }

 private:
  explicit Communicator(MPI_Comm comm) : comm_(comm) {}
  MPI_Comm comm_;
  bool kept_ = false;
};

// Returns the nodes of the ranks of `comm`. `node` has the ranks that share memory with this one. Collective
// over `comm`.
Nodes nodes_of(MPI_Comm comm, MPI_Comm node);

}  // namespace moehill
