// Messages: bytes between ranks, many at once, of any length.
#pragma once

#include <cstddef>
#include <vector>

#include "moehill/mesh/mpi/mpi_call.h"

namespace moehill {

// Messages between two ranks arrive in the order in which they were sent and are matched to receives in that
// order. An empty message is a message: it tells the receiver that there is nothing.
class Messages {
 public:
  // Cut into pieces of at most `piece_bytes`, which must fit an int.
  Messages(MPI_Comm comm, size_t piece_bytes) : comm_(comm), piece_bytes_(piece_bytes) {}

  // Start and return; the memory must stay until finish(). Allocate nothing once there was a step as large.
  void send(const void* from, size_t bytes, int to);
  void receive(void* to, size_t bytes, int from);

  // Waits for all of them. Throws CollectiveError, naming `collective`, if a rank sent another number of
  // bytes than was expected of it; what arrived is undefined then.
  void finish(const char* collective);
  // Waits for nothing: what has not arrived will not. The memory of a large send must stay all the same.
  void abandon();

 private:
  struct Expected {
    int rank;  // -1: a send
    size_t bytes;
  };
  static void check(const char* collective, const Expected& expected, const MPI_Status& status, int code);

  MPI_Comm comm_;
  size_t piece_bytes_;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;  // [requests]
  std::vector<MPI_Status> statuses_;
  std::vector<int> codes_;
};

}  // namespace moehill
