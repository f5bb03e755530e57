// MPI as this room uses it: the one wrapper of its calls, and Communicator, a set of processes with a context
// of its own.
#pragma once

#include <mpi.h>

#include <stdexcept>

#include "moehill/mesh/nodes.h"

namespace moehill {

class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// check_mpi("MPI_Send", MPI_Send(...)): throws MpiError with the call, this process's rank in the job and
// MPI's text. The communicators and windows of this room return codes (MPI_ERRORS_RETURN).
void check_mpi(const char* call, int code);

// Made and destroyed by all of its processes together. One that goes while an exception unwinds is left to
// the end of the job, since to free it would be to wait for the others. Error handlers are inherited.
class Communicator {
 public:
  static Communicator duplicate_of(MPI_Comm comm);
  // The processes of `comm` that share memory with this one, in the order of `comm`.
  static Communicator node_of(MPI_Comm comm);
  // The processes that give the same colour.
  static Communicator part_of(MPI_Comm comm, int colour);

  ~Communicator();
  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&&) = delete;

  MPI_Comm get() const { return comm_; }
  int rank() const;
  int size() const;
  // Keeps it from being freed: messages that nobody will receive are on their way, and a later communicator
  // would get its context and them. All of its processes call this.
  void keep() { kept_ = true; }

 private:
  explicit Communicator(MPI_Comm comm) : comm_(comm) {}
  MPI_Comm comm_;
  bool kept_ = false;
};

// The nodes of the ranks of `comm`; `node`: those that share memory with this one. Collective over `comm`.
Nodes nodes_of(MPI_Comm comm, MPI_Comm node);

}  // namespace moehill
