// Messages: bytes between ranks, many at once, of any length.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "moehill/mesh/mpi/message_tags.h"

namespace moehill {

// Messages between two ranks arrive in the order in which they were sent and are matched to receives in that
// order. An empty message is a message: it tells the receiver that there is nothing.
class Messages {
 public:
  // Messages are cut into pieces of at most `piece_bytes`, which must fit an int.
  Messages(MPI_Comm comm, size_t piece_bytes) : comm_(comm), piece_bytes_(piece_bytes) {}

  // Start and return; the memory must stay until finish(). Allocate nothing once there was a step as large.
  void send(const void* from, size_t bytes, int to);
  void receive(void* to, size_t bytes, int from);

  // True if finish() would return at once.
  bool are_done();
  // Waits for all of them. Throws CollectiveError, naming `collective`, if a rank sent another number of
  // bytes than was expected of it; what arrived is undefined then.
  void finish(const char* collective);
  // Waits for the messages of the ranks that agree(rank), and for no others: those will not match ours.
  void abandon(const std::function<bool(int)>& agrees);
  // Waits for none.
  void abandon() {
    abandon([](int) { return false; });
  }
  // Sets the tag of the messages from now on.
  void use_tag(int tag) { tag_ = tag; }

 private:
  struct Expected {
    int rank;
    bool is_receive;
    size_t bytes;
  };
  static void check(const char* collective, const Expected& expected, const MPI_Status& status, int code);

  MPI_Comm comm_;
  size_t piece_bytes_;
  size_t num_done_ = 0;  // requests at the front that are known to be complete
  int tag_ = kFirstRowsTag;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;  // [requests]
  std::vector<MPI_Status> statuses_;
  std::vector<int> codes_;
};

}  // namespace moehill
