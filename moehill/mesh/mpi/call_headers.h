// CallHeaders: what ranks of different nodes tell each other of the call that they are at, so that calls
// which do not go together end in an error and not in a wait.
#pragma once

#include <vector>

#include "moehill/mesh/call.h"
#include "moehill/mesh/mpi/mpi_call.h"

namespace moehill {

// One message a call and pair of ranks: the i-th of a pair is of the i-th call of both, so no number is sent.
class CallHeaders {
 public:
  // `others`: the ranks of other nodes.
  CallHeaders(MPI_Comm comm, std::vector<int> others, int num_ranks);
  ~CallHeaders() { drop(); }
  CallHeaders(const CallHeaders&) = delete;
  CallHeaders& operator=(const CallHeaders&) = delete;

  // Tells all others of the call and returns the tag of its rows; its offsets are copied. Calls that do not
  // go together have different tags, so that their rows are not taken for each other's.
  int post(const Call& call);
  // Waits for what the others tell. Throws CollectiveError if a call differs from the one posted; every rank
  // whose check() ends then throws.
  void check();
  // True if the call of `rank`, one of the others, was the one posted; to be asked after a check() that
  // threw.
  bool agrees(int rank) const;

 private:
  struct Header;
  char* header(size_t i) { return memory_.data() + i * header_bytes_; }
  void write(const Call& call);
  int tag();
  Call read(size_t i);
  void drop();

  MPI_Comm comm_;
  std::vector<int> others_;
  size_t num_offsets_, header_bytes_;
  std::vector<char> memory_;           // [1 + others] headers, the own one first
  std::vector<MPI_Request> requests_;  // [2 * others] receives, then sends
  std::vector<Call> calls_;            // [1 + others]
};

}  // namespace moehill
