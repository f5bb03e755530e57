// TripMessages: what a round trip sends to and receives from other nodes, part by part.
#pragma once

#include <vector>

#include "moehill/mesh/mpi/messages.h"
#include "moehill/mesh/round_trip.h"

namespace moehill {

// All receives are posted at the start. Sends are not: MPI shares a link among all messages under way, so
// that of many parts none would be there before the last. A few are under way at a time, in their order, the
// rows before the answers.
class TripMessages {
 public:
  // `others`: the ranks of other nodes, in the order in which they are sent to.
  TripMessages(MPI_Comm comm, size_t piece_bytes, std::vector<int> others)
      : comm_(comm), piece_bytes_(piece_bytes), others_(std::move(others)) {}

  // The arguments' memory stays until finish().
  void start(const RoundTrip& trip, int tag);
  void answer(int part);  // the parts up to this one may be answered
  // Sends what may go now. Called again and again while anything is in flight; nothing to do otherwise.
  void advance();
  bool has_landed(int part);
  // Both wait, and throw CollectiveError if a rank sent another number of bytes than was expected of it.
  void await(int part);
  void finish();
  // Gives up after an error, and waits for nothing.
  void abandon();

 private:
  // Rows of part `part` to or from `rank`.
  struct Place {
    char* begin;
    size_t bytes;
  };
  Place place(const void* rows, std::span<const int64_t> cuts, int rank, int part) const;
  void post(int send);
  template <typename Condition>
  void advance_until(const Condition& condition);

  MPI_Comm comm_;
  size_t piece_bytes_;
  std::vector<int> others_;
  RoundTrip trip_;
  std::vector<Messages> coming_, going_;               // [2 num_parts]: the rows' parts, then the answers'
  int num_ready_ = 0, num_posted_ = 0, num_gone_ = 0;  // of going_
  int limit_ = 0;                                      // of those under way
};

}  // namespace moehill
