// This header has the messages between ranks of different nodes. Messages sends and receives many byte
// strings of any length at once. TripMessages moves the parts of a round trip. CallHeaders finds out which
// ranks are at which calls, after a disagreement. Ranks of one node do not use messages.
//
//   messages.receive(to, bytes, rank);
//   messages.send(from, bytes, rank);
//   messages.finish("all_to_all");   // throws CollectiveError for a message of another length
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
inline constexpr int kFirstRowsTag = 1;     // for messages that belong to no announced call
inline constexpr int kNumRowsTags = 32766;  // MPI guarantees at least 32767 tags

// Gives up a message that the other side will never match. It ignores errors, because the caller is about to
// report an earlier one.
inline void abandon_request(MPI_Request& request, bool is_receive) {
  if (request == MPI_REQUEST_NULL) return;
  if (!is_receive) {
    (void)MPI_Request_free(&request);
    return;
  }
  (void)MPI_Cancel(&request);
  (void)MPI_Wait(&request, MPI_STATUS_IGNORE);
}

// The largest piece that the library sends at once without asking the receiver first ("eagerly"). Over TCP,
// Open MPI and MPICH do so up to 64 KiB including their own headers. A longer message waits for a go-ahead
// from the receiver, which over TCP may have to wait behind data that goes the same way. In the worst case
// only one direction of a link is then used at a time.
inline constexpr size_t kEagerPieceBytes = 60 << 10;
inline constexpr size_t kLargestPieceBytes = size_t{1} << 30;  // MPI counts in int

// Returns the size of the pieces into which messages between nodes are cut. Rank 0 and a rank of another node
// try the two sizes above, and the faster one is taken. Collective over `comm`. `others` are the ranks of
// other nodes; if there are none, nothing is tried. The trial takes less than a second on a link of 1 Gbit/s.
size_t quickest_piece_bytes(MPI_Comm comm, const std::vector<int>& others);

// Messages has many messages in flight at once. Messages between two ranks arrive in the order in which they
// were sent, and match the receives in that order. An empty message is sent too: it tells the receiver that
// there is nothing.
class Messages {
 public:
  // Messages are cut into pieces of at most `piece_bytes`, which must fit an int. All receives are posted at
  // once, but only a few sends to each rank, because the library may copy the data that it sends. sent counts
  // the pieces.
  Messages(MPI_Comm comm, size_t piece_bytes, MessageCount* sent = nullptr)
      : comm_(comm), piece_bytes_(piece_bytes), sent_(sent) {}

  // Both start a message and return; the memory must not change until finish(). After the first step of a
  // size, they allocate nothing. Do not send a second message to a rank before the first one has been posted
  // completely, see all_sent().
  void send(const void* from, size_t bytes, int to);
  void receive(void* to, size_t bytes, int from);
  // Sends what can be sent now. Call it again and again while anything is in flight.
  void advance();
  // True if no piece waits for others to be sent first.
  bool all_sent() const { return num_sent_ == outgoing_.size(); }

  // True if finish() would return at once.
  bool are_done();
  size_t num_done() const { return num_done_; }  // at least this many pieces have arrived or been sent
  // Waits for all messages. Throws a CollectiveError that names `collective` if a rank sent another number of
  // bytes than was expected; the received memory is then undefined.
  void finish(const char* collective);
  // Waits only for messages of ranks for which agrees(rank) is true, and gives up the other messages, which
  // would never match.
  void abandon(const std::function<bool(int)>& agrees);
  // Gives up all messages.
  void abandon() {
    abandon([](int) { return false; });
  }
  // Sets the tag of all messages from now on.
  void use_tag(int tag) { tag_ = tag; }

 private:
  struct Expected {
    int rank;
    bool is_receive;
    size_t bytes;
  };
  // Outgoing is a message that is being sent: the rest of it, and its pieces under way.
  struct Outgoing {
    const char* next;
    size_t bytes;
    int rank;
    bool is_begun = false;  // an empty message has one piece too
    size_t num_flying = 0;
    std::array<size_t, 4> flying{};  // requests of pieces, the oldest first
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
  size_t num_sent_ = 0;  // this many messages at the front are completely posted
  size_t num_done_ = 0;  // this many requests at the front are known to be complete
  int tag_ = kFirstRowsTag;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;  // [requests]
  std::vector<MPI_Status> statuses_;
  std::vector<int> codes_;
};

// CallHeaders finds out which rank is at which call, for the error message, after CallAgreement has found
// that the calls differ. It needs one message for each pair of ranks on different nodes.
class CallHeaders {
 public:
  // `others` are the ranks of other nodes.
  CallHeaders(MPI_Comm comm, std::vector<int> others, int num_ranks);
  ~CallHeaders() { drop(); }
  CallHeaders(const CallHeaders&) = delete;
  CallHeaders& operator=(const CallHeaders&) = delete;

  // Tells all others about the call; its offsets are copied.
  void post(const Call& call);
  // Waits for the calls of the others. Throws CollectiveError if one of them differs from the posted call.
  // Then check() throws on every rank.
  void check();
  // Returns true if `rank`, one of the others, was at the posted call. Ask after check().
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
  std::vector<char> memory_;           // [1 + others] headers; the first is this rank's
  std::vector<MPI_Request> requests_;  // [2 * others] receives, then sends
  std::vector<Call> calls_;            // [1 + others]
};

// TripMessages moves the parts of a round trip to and from other nodes.
//
// It posts all receives at the start, but only a few sends at a time. MPI shares a link among all messages
// under way, so if all parts were sent at once, none would be complete before the last. Parts are sent in
// their order, rows before answers. Nothing is sent for an empty part.
class TripMessages {
 public:
  // `others` are the ranks of other nodes, in the order in which this rank sends to them. sent counts the
  // pieces.
  TripMessages(MPI_Comm comm, size_t piece_bytes, std::vector<int> others, MessageCount* sent)
      : comm_(comm), piece_bytes_(piece_bytes), sent_(sent), others_(std::move(others)) {}

  // The memory of the arguments must not change until finish().
  void start(const RoundTrip& trip, int tag);
  void answer(int part);  // the answers of the parts up to this one may be sent
  // Sends what can be sent now. Call it again and again while anything is in flight.
  void advance();
  bool has_landed(int part);
  // Both wait. They throw CollectiveError if a rank sent another number of bytes than was expected.
  void await(int part);
  void finish();
  // Gives up after an error, without waiting.
  void abandon();

 private:
  // The rows of part `part` to or from `rank`.
  struct Place {
    char* begin;
    size_t bytes;
  };
  Place place(const void* rows, size_t row_bytes, std::span<const int64_t> cuts, int rank, int part) const;
  // These return part `part` of the rows in the form in which they travel.
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
  std::vector<Messages> coming_, going_;  // [2 num_parts]: the rows' parts, then the answers'
  // Numbers of parts in going_ that may be sent, have been posted, and are complete.
  int num_ready_ = 0, num_posted_ = 0, num_gone_ = 0;
  int limit_ = 0;  // the largest number of parts under way
};

}  // namespace moehill
