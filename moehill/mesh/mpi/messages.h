// Messages between ranks: bytes of any length, many at once (Messages); the headers by which ranks of
// different nodes find out at which calls they are when these do not go together (CallHeaders); the parts of
// a round trip (TripMessages).
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/message_counts.h"
#include "moehill/mesh/mpi/communicator.h"

namespace moehill {

inline constexpr int kHeaderTag = 0;
inline constexpr int kFirstRowsTag = 1;     // of messages that belong to no announced call
inline constexpr int kNumRowsTags = 32766;  // MPI allows 32767 tags at least

// Gives up a message that the other side never matches. Errors are not looked at: this follows one.
inline void abandon_request(MPI_Request& request, bool is_receive) {
  if (request == MPI_REQUEST_NULL) return;
  if (!is_receive) {
    (void)MPI_Request_free(&request);
    return;
  }
  (void)MPI_Cancel(&request);
  (void)MPI_Wait(&request, MPI_STATUS_IGNORE);
}

// Pieces that the library sends at once without asking the receiver first, as all libraries at hand do over
// TCP up to 64 KiB with their own headers. Longer ones wait for a go-ahead, which over TCP waits behind what
// goes the same way: at worst only one direction of a link moves at a time.
inline constexpr size_t kEagerPieceBytes = 60 << 10;
inline constexpr size_t kLargestPieceBytes = size_t{1} << 30;  // MPI counts in int

// The pieces that messages between nodes are cut into: those of the two sizes above with which two ranks of
// different nodes, rank 0 one of them, exchange rows faster. Collective over `comm`. `others`: the ranks of
// other nodes; without any nothing is tried. It takes less than a second on a link of 1 Gbit/s.
size_t quickest_piece_bytes(MPI_Comm comm, const std::vector<int>& others);

// Messages between two ranks arrive in the order in which they were sent and are matched to receives in that
// order. An empty message is a message: it tells the receiver that there is nothing.
class Messages {
 public:
  // Messages are cut into pieces of at most `piece_bytes`, which must fit an int. All receives are posted at
  // once, but only a few sends to each rank, since the library may copy what it sends. sent: counts pieces.
  Messages(MPI_Comm comm, size_t piece_bytes, MessageCount* sent = nullptr)
      : comm_(comm), piece_bytes_(piece_bytes), sent_(sent) {}

  // Start and return; the memory must stay until finish(). Allocate nothing once there was a step as large.
  // A rank is sent no second message before all of the first is posted: see all_sent().
  void send(const void* from, size_t bytes, int to);
  void receive(void* to, size_t bytes, int from);
  // Sends what may go now. To be called again and again while anything is in flight.
  void advance();
  // True if no piece waits for others to be gone.
  bool all_sent() const { return num_sent_ == outgoing_.size(); }

  // True if finish() would return at once.
  bool are_done();
  size_t num_done() const { return num_done_; }  // at least so many pieces have come or gone
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
  // The rest of a message, and its pieces under way.
  struct Outgoing {
    const char* next;
    size_t bytes;
    int rank;
    bool is_begun = false;  // an empty message has a piece too
    size_t num_flying = 0;
    std::array<size_t, 4> flying{};  // requests, the oldest first
    bool is_left() const { return bytes > 0 || !is_begun; }
  };
  static void check(const char* collective, const Expected& expected, const MPI_Status& status, int code);
  bool is_done(size_t request);
  void advance(Outgoing& message);
  void skip_sent();
  void send_all(const char* collective);
  int wait(const char* collective, size_t request, MPI_Status* status);

  MPI_Comm comm_;
  size_t piece_bytes_;
  MessageCount* sent_;
  std::vector<Outgoing> outgoing_;
  size_t num_sent_ = 0;  // messages at the front of which nothing is left
  size_t num_done_ = 0;  // requests at the front that are known to be complete
  int tag_ = kFirstRowsTag;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;  // [requests]
  std::vector<MPI_Status> statuses_;
  std::vector<int> codes_;
};

// Who is at which call, for the message, once it is known that not all are at the same (CallAgreement).
// One message a pair of ranks of different nodes.
class CallHeaders {
 public:
  // `others`: the ranks of other nodes.
  CallHeaders(MPI_Comm comm, std::vector<int> others, int num_ranks);
  ~CallHeaders() { drop(); }
  CallHeaders(const CallHeaders&) = delete;
  CallHeaders& operator=(const CallHeaders&) = delete;

  // Tells all others of the call; its offsets are copied.
  void post(const Call& call);
  // Waits for what the others tell. Throws CollectiveError if a call differs from the one posted; every rank
  // whose check() ends then throws.
  void check();
  // True if the call of `rank`, one of the others, was the one posted; to be asked after a check().
  bool agrees(int rank) const;

 private:
  struct Header;
  char* header(size_t i) { return memory_.data() + i * header_bytes_; }
  void write(const Call& call);
  Call read(size_t i);
  void drop();

  MPI_Comm comm_;
  std::vector<int> others_;
  size_t num_offsets_, header_bytes_;
  std::vector<char> memory_;           // [1 + others] headers, the own one first
  std::vector<MPI_Request> requests_;  // [2 * others] receives, then sends
  std::vector<Call> calls_;            // [1 + others]
};

// The messages of a round trip to and from other nodes, part by part.
//
// All receives are posted at the start. Sends are not: MPI shares a link among all messages under way, so
// that of many parts none would be there before the last. A few are under way at a time, in their order, the
// rows before the answers. Nothing is sent for an empty part.
class TripMessages {
 public:
  // `others`: the ranks of other nodes, in the order in which they are sent to. sent: counts pieces.
  TripMessages(MPI_Comm comm, size_t piece_bytes, std::vector<int> others, MessageCount* sent)
      : comm_(comm), piece_bytes_(piece_bytes), sent_(sent), others_(std::move(others)) {}

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
  Place place(const void* rows, size_t row_bytes, std::span<const int64_t> cuts, int rank, int part) const;
  // Return part `part` of the rows, in the form that they have on the way.
  Place received(int rank, int part) const;
  Place sent(int rank, int part) const;
  void post(int send);
  template <typename Condition>
  void advance_until(const Condition& condition);

  MPI_Comm comm_;
  size_t piece_bytes_;
  MessageCount* sent_;
  std::vector<int> others_;
  RoundTrip trip_;
  std::vector<Messages> coming_, going_;               // [2 num_parts]: the rows' parts, then the answers'
  int num_ready_ = 0, num_posted_ = 0, num_gone_ = 0;  // of going_
  int limit_ = 0;                                      // of those under way
};

}  // namespace moehill
