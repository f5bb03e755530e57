// Group is one device's handle on its peers: it has the collectives that they make together. A device's
// number among its peers is its rank. Every backend (solo, threads, mpi) implements this interface, and
// conformance.h tests each method on each backend. A Group knows rows, bytes and ranks, and nothing of
// experts and tokens.
//
//   mesh.run([&](Group& group) {                              // on every device
//     std::vector<float> sums(n);
//     group.all_reduce(values.data(), DType::f32, sums.data(), DType::f32, n);
//   });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/machine/wait.h"
#include "moehill/mesh/collective.h"
#include "moehill/mesh/nodes.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// Traffic counts the bytes that a device has sent and received so far. If a rank reads a peer's memory, the
// reader counts the bytes as received and the owner counts them as sent, as if they had gone over a network.
struct Traffic {
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  // Seconds until all peers (on MPI: all peers of the node) had come to the collectives. This is time of
  // waiting, not of moving bytes.
  double wait_seconds = 0;
  // For messages that travelled while the team worked: for how many seconds, and how often the team made the
  // library drive them on.
  double flight_seconds = 0;
  int64_t progress_calls = 0;
  // On MPI: the messages that this rank gave to the library, and the bytes in them, including the messages by
  // which nodes agree on a call. Rows that peers of the node take from shared memory do not count here.
  int64_t num_messages = 0;
  uint64_t message_bytes = 0;
  uint64_t network_bytes = 0;  // the part of sent_bytes that went to ranks of other nodes

  Traffic& operator+=(const Traffic& other);
  Traffic since(const Traffic& before) const;
};

// Reach says how the rows of the farthest peer come. addresses: from its memory, at the same addresses as
// here. node: from shared memory of the node, at other addresses. messages: as messages, which travel while
// the team works on something else.
enum class Reach { addresses, node, messages };

// FarRows give rows another form on their way to ranks of other nodes. Row i of `sent` then travels instead
// of row i of the input, and arrives as row i of `received` instead of row i of the output.
struct FarRows {
  size_t row_bytes = 0;  // 0: rows travel as they are
  const void* sent = nullptr;
  void* received = nullptr;
};

// Started keeps the arguments of a collective in split phase, from its start to its finish().
struct Started {
  std::optional<Collective> kind = {};  // nothing started if empty; never all_reduce
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1]; not for all_gather
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]; not for reduce_scatter
  size_t element_bytes = 0;
  DType input_dtype = DType::f32, output_dtype = DType::f32;  // reduce_scatter only
  FarRows far = {};                                           // all_to_all only

  const char* name() const { return name_of(kind.value()); }
};

// RoundTrip has the arguments of a round trip. Rows go to other ranks, which work on them, and as many rows
// come back as answers. Both travel in parts. Part p of the rows to (or from) rank r is [cuts[r * (num_parts
// + 1) + p], cuts[r * (num_parts + 1) + p + 1]) of the array. Parts may be empty. The answers may be cut
// differently from the rows.
struct RoundTrip {
  int num_parts = 1;  // the same on all ranks
  size_t row_bytes = 0;
  std::span<const int64_t> send_offsets, receive_offsets;  // [ranks + 1] rows
  const void* sent = nullptr;                              // [rows sent]
  void* received = nullptr;                                // [rows received]
  const void* answer = nullptr;  // [rows received] the answers of this rank to the others
  void* answered = nullptr;      // [rows sent] the answers that come back; not the same memory as `sent`
  // [ranks][num_parts + 1]; not needed if there is only one part.
  std::span<const int64_t> sent_cuts = {}, received_cuts = {}, answer_cuts = {}, answered_cuts = {};
  FarRows far = {};  // for the rows; answers travel as they are
};

// All methods are collective unless their comment says otherwise: every rank calls them in the same order,
// from the thread that leads the device's team. The team copies and adds. Counts may differ between ranks and
// may be zero. The memory of arguments stays the caller's. Methods throw CollectiveError and PeerFailed
// (errors.h).
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual ThreadTeam& team() = 0;
  virtual Reach reach() const = 0;  // the same on all ranks; not collective

  // Returns the nodes of the ranks, the same on all ranks.
  const Nodes& nodes() const { return nodes_; }
  // Returns a group of the ranks of this rank's node, in the same order; if all ranks are on one node, this
  // group itself. Its collectives concern no other rank. They may be called while no split-phase call of this
  // group is in flight. traffic() of this group has its bytes, and the listener of this group learns of its
  // waits.
  virtual Group& on_node() { return *this; }

  // Returns when all ranks have called it.
  virtual void barrier() = 0;

  // Sets `output` [n] on every rank to the sum of `input` [n] over all ranks. The sum is made in rank order
  // in f32 and rounded once to the output type, so all ranks have the same bits. Input and output may have
  // different types (f32 partial sums, bf16 result). They may be the same memory if they have the same type.
  virtual void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                          int64_t n) = 0;

  // Sets rank r's `output` to elements [offsets[r], offsets[r + 1]) of the sum of `input` [offsets[size]]
  // over all ranks. The sum is made in rank order in f32.
  void reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets, void* output,
                      DType output_dtype) {
    start_reduce_scatter(input, input_dtype, offsets, output, output_dtype);
    finish();
  }

  // Copies the `input` of each rank r, offsets[r + 1] - offsets[r] elements of `element_bytes`, to offsets[r]
  // of every rank's `output`. `input` may already be in its place in `output`.
  void all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes, void* output) {
    start_all_gather(input, offsets, element_bytes, output);
    finish();
  }

  // Sends elements [send_offsets[r], send_offsets[r + 1]) of `input` to rank r; the elements that rank r
  // sends arrive at receive_offsets[r] of `output`. Throws CollectiveError if the counts of a pair do not
  // agree, as far as the backend can see it.
  void all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                  std::span<const int64_t> receive_offsets, size_t element_bytes) {
    start_all_to_all(input, send_offsets, output, receive_offsets, element_bytes);
    finish();
  }

  // Exchanges one number for each pair of ranks. `own` and `theirs` have [size] numbers: own[r] is for rank
  // r, and theirs[r] is the number that rank r has for this rank. This is an all_to_all of one element each,
  // unless the backend has a cheaper way.
  virtual void exchange_counts(const int64_t* own, int64_t* theirs);

  // These functions are three of the collectives in split phase. A start may already move rows between nodes
  // and returns without waiting for a peer; finish() completes the collective. Until then the memory of all
  // arguments, offsets included, must not change. The exception is a rank's own part of the input of a
  // reduce_scatter, which only finish() reads. In between, the team is free for other work, but no other
  // method of the group may be called; that would end the program.
  virtual void start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                                void* output);
  virtual void start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                                std::span<const int64_t> receive_offsets, size_t element_bytes);
  virtual void start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                                    void* output, DType output_dtype);
  virtual void finish() = 0;

  // These functions make a round trip: an all_to_all there and another one back, in flight at the same time.
  // Some parts of the rows travel while the ranks work on others, as far as the mesh can do that. Call
  // start_round_trip(), then await(p) and answer(p) with rising p up to the last part, then
  // finish_round_trip(), and no other method in between. Memory must not change until the end, except for the
  // answers before their answer().
  virtual void start_round_trip(const RoundTrip& trip);
  // Returns true if await(part) would return at once. Not collective.
  virtual bool has_landed(int) { return false; }
  // Returns when the parts up to this one have arrived. All rows from ranks of this node have then arrived.
  virtual void await(int part);
  // Tells the mesh that the answers of the parts up to this one are complete, so that it may send them.
  virtual void answer(int part);
  virtual void finish_round_trip();

  // Returns zeroed memory of this rank, aligned to 64 bytes at least (2 MiB if large), that peers on the same
  // node can reach: rows in it move by one copy instead of two. Collectives take any other memory too, but
  // may be slower with it. Collective; `bytes` may differ between ranks. The caller must release the memory
  // before the mesh is destroyed. A later call gives memory that all ranks have released back to the system.
  // Throws the system's error if it has no memory.
  virtual std::shared_ptr<void> exchange_memory(size_t bytes) = 0;

  // Returns zeroed memory that is the same on every rank, so that peers read each other's rows in place; null
  // if the ranks do not share an address space. `bytes` must be the same on all ranks. Collective.
  virtual std::shared_ptr<void> common_memory(size_t bytes) = 0;
  // Counts rows that ranks read from each other in place, with the bytes of the all_to_all that the reading
  // replaces. It moves nothing and does not wait.
  virtual void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                           size_t element_bytes) = 0;

  // Sets a function that learns of every wait for peers when the wait is over; empty: none.
  // Traffic::wait_seconds is the sum of the waits for the own node. All ranks have the same waits in the same
  // order.
  void report_waits_to(std::function<void(const Wait&)> listener) { wait_listener_ = std::move(listener); }

  // Returns the bytes as mesh/traffic.h counts them; a barrier counts nothing.
  virtual Traffic traffic() const = 0;

  // Checks the invariant of the split phase: nothing is in flight when `call` begins.
  void require_idle(const char* call) const;
  // Forgets a collective that was started and, after a failed run, will never be finished.
  void abandon() { started_ = {}, far_ = {}; }

 protected:
  // Returns what finish() has to do. Afterwards nothing is in flight, even if finish() fails.
  Started take_started();
  const Started& started() const { return started_; }
  const RoundTrip& trip() const { return trip_; }
  // Keeps the arguments of a round trip.
  void begin_trip(const RoundTrip& trip);
  void report_wait(const Wait& wait) const {
    if (wait_listener_) wait_listener_(wait);
  }
  void set_nodes(Nodes nodes) { nodes_ = std::move(nodes); }
  // Returns the bytes that this rank sends to ranks of other nodes in this collective.
  uint64_t network_bytes(const Started& call) const;
  // Adds the bytes of an all_to_all to `traffic`.
  void count_rows(const Started& call, Traffic& traffic) const;

 private:
  Started started_;
  RoundTrip trip_;
  bool trip_landed_ = false;
  FarRows far_;                    // for the next all_to_all
  std::vector<int64_t> one_each_;  // [size + 1] offsets: one element for each rank
  Nodes nodes_;
  std::function<void(const Wait&)> wait_listener_;
};

// Makes exchange memory for backends whose peers share one address space, where ordinary memory is enough.
inline std::shared_ptr<void> make_exchange_buffer(size_t bytes) {
  const auto buffer = std::make_shared<Buffer>(bytes);
  return {buffer, buffer->data()};
}

// The rest of this header is for backends: the arguments of a call as peers see them, and checks of one
// rank's arguments and of calls that should go together.

// Call has the arguments of a call. It has cache lines of its own, because peers read it while other ranks
// write the Calls beside it.
struct alignas(64) Call {
  CallKind kind = CallKind::barrier;
  DType input_dtype = DType::f32;
  DType output_dtype = DType::f32;
  int rank = 0;
  int64_t n = 0;
  size_t element_bytes = 0;
  std::span<const int64_t> offsets = {};          // offsets of the elements to send, [ranks + 1]
  std::span<const int64_t> receive_offsets = {};  // for all_to_all, [ranks + 1]
  const void* input = nullptr;
  void* output = nullptr;
  const void* far_input = nullptr;  // for all_to_all, if rows have another form between nodes
  // The MPI mesh compares calls by these two numbers (mesh/mpi/call_agreement.h): the hashes are equal if the
  // calls go together, and the differences of all ranks add up to 0 if the counts agree.
  uint64_t hash = 0, difference = 0;
};

Call call_of(const Started& started);

// Returns "" if all calls have the same arguments, where they must be the same on all ranks. If any two calls
// differ, each rank gets a message about a call that differs from its own, calls[own].
std::string find_disagreement(std::span<const Call> calls, size_t own);

// Returns "" if in an all_to_all every rank of `calls` expects as many elements as each other rank sends to
// it.
std::string find_count_disagreement(std::span<const Call> calls);
std::string count_disagreement(int from, int64_t sent, int to, int64_t expected);

// Throws CollectiveError unless offsets are [num_ranks + 1], start at 0 and never decrease.
void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks);
void check_count(const char* collective, int64_t n);

}  // namespace moehill
