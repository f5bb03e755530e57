// Implements communicator.h.
#include "moehill/mesh/mpi/communicator.h"

#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

namespace moehill {

void check_mpi(const char* call, int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw MpiError(
      fmt::format("{} failed on rank {}: {}", call, rank, std::string(text, static_cast<size_t>(length))));
}

Communicator Communicator::duplicate_of(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi("MPI_Comm_dup", MPI_Comm_dup(comm, &copy));
  return Communicator(copy);
}

Communicator Communicator::node_of(MPI_Comm comm) {
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi("MPI_Comm_split_type", MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  return Communicator(node);
}

Communicator Communicator::part_of(MPI_Comm comm, int colour) {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi("MPI_Comm_split", MPI_Comm_split(comm, colour, 0, &part));
  return Communicator(part);
}

Communicator::~Communicator() {
  if (!kept_ && comm_ != MPI_COMM_NULL && std::uncaught_exceptions() == 0) (void)MPI_Comm_free(&comm_);
}

Communicator::Communicator(Communicator&& other) noexcept
    : comm_(std::exchange(other.comm_, MPI_COMM_NULL)), kept_(other.kept_) {}

int Communicator::rank() const {
  int rank = 0;
  check_mpi("MPI_Comm_rank", MPI_Comm_rank(comm_, &rank));
  return rank;
}

int Communicator::size() const {
  int size = 0;
  check_mpi("MPI_Comm_size", MPI_Comm_size(comm_, &size));
  return size;
}

// The first rank of a node, in `comm`, stands for the node.
Nodes nodes_of(MPI_Comm comm, MPI_Comm node) {
  int first = 0, size = 0;
  check_mpi("MPI_Comm_rank", MPI_Comm_rank(comm, &first));
  check_mpi("MPI_Bcast", MPI_Bcast(&first, 1, MPI_INT, 0, node));
  check_mpi("MPI_Comm_size", MPI_Comm_size(comm, &size));
  std::vector<int> first_of(static_cast<size_t>(size));
  check_mpi("MPI_Allgather", MPI_Allgather(&first, 1, MPI_INT, first_of.data(), 1, MPI_INT, comm));
  return Nodes(first_of);
}

}  // namespace moehill
