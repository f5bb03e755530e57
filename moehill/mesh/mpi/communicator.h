// MPI as this room uses it: check_mpi(), through which every call goes, and Communicator, a set of processes
// with a context of its own. No other room includes <mpi.h>.
//
//   check_mpi("MPI_Barrier", MPI_Barrier(comm.get()));
#pragma once

#include <mpi.h>

#include <stdexcept>

#include "moehill/mesh/nodes.h"

namespace moehill {

// A call of MPI has failed.
class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws MpiError, with the call, this process's rank in the job and MPI's own text, unless the code is
// MPI_SUCCESS. It works because the communicators and windows of this room return codes (MPI_ERRORS_RETURN).
void check_mpi(const char* call, int code);

// Owns an MPI_Comm. All of its processes make and destroy it together. If it is destroyed while an exception
// unwinds, it is not freed, because freeing would wait for the other processes. Error handlers are inherited
// from the communicator that it is made of.
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
  // Keeps it from being freed. After a failure, messages are on their way that nobody will receive; a later
  // communicator could get the same context and receive them. All of its processes must call this.
  void keep() { kept_ = true; }

 private:
  explicit Communicator(MPI_Comm comm) : comm_(comm) {}
  MPI_Comm comm_;
  bool kept_ = false;
};

// Returns the nodes of the ranks of `comm`; `node` has those that share memory with this one. Collective over
// `comm`.
Nodes nodes_of(MPI_Comm comm, MPI_Comm node);

}  // namespace moehill
