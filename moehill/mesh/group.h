// Group: the collectives of one device with its peers (its "rank" and theirs). Every backend (solo, threads,
// mpi) implements this interface, and conformance.h tests each method on each of them. It knows rows, bytes
// and ranks, and nothing of experts and tokens.
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

// The bytes that this device has sent and received so far. If a rank reads a peer's memory, that counts as
// received by the reader and as sent by the owner, as if it had gone over a network.
struct Traffic {
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  // Seconds until all peers (on MPI: those of the node) had come to the collectives. This is time of waiting,
  // not of moving bytes.
  double wait_seconds = 0;
  // For messages that travelled while the team worked: how long that was, and how often the team helped them
  // on.
  double flight_seconds = 0;
  int64_t progress_calls = 0;
  // On MPI: the messages that this rank gave to the library, and the bytes in them, including those of
  // agreement. Rows that peers of the node take from shared memory are not counted here.
  int64_t num_messages = 0;
  uint64_t message_bytes = 0;
  uint64_t network_bytes = 0;  // the part of sent_bytes that went to ranks of other nodes

  Traffic& operator+=(const Traffic& other);
  Traffic since(const Traffic& before) const;
};

// The way in which rows of the farthest peer come: from its memory at the same addresses as here, from memory
// of the node at other addresses, or by messages, which travel while the team works on something else.
enum class Reach { addresses, node, messages };

// Another form of the rows for ranks of other nodes. Row i of `sent` then travels instead of row i of the
// input, and arrives as row i of `received` instead of row i of the output.
struct FarRows {
  size_t row_bytes = 0;  // 0: rows travel as they are
  const void* sent = nullptr;
  void* received = nullptr;
};

// The arguments of a collective in split phase, kept from its start to its finish().
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

// The arguments of a round trip: rows go to other ranks, are worked on there, and as many rows come back,
// both ways in parts. Part p of the rows to (or from) rank r is [cuts[r * (num_parts + 1) + p], cuts[r *
// (num_parts + 1) + p + 1]) of the array. Parts may be empty. The answers may be cut differently from the
// rows.
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

// One device's handle. All methods are collective unless their comment says otherwise: every rank calls them
// in the same order, from the device's leading thread. The device's team does the copying and adding. Counts
// may differ between ranks and may be zero. Errors are CollectiveError and PeerFailed (errors.h).
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual ThreadTeam& team() = 0;
  virtual Reach reach() const = 0;  // the same on all ranks; not collective

  // Returns the nodes of the ranks, the same on all ranks.
  const Nodes& nodes() const { return nodes_; }
  // Returns the ranks of this rank's node as a mesh of their own, in the same order; if all ranks are on one
  // node, this group itself. Its collectives concern no other rank and may be called while nothing is in
  // flight here. Its bytes are in traffic() of this group, and its waits are reported to the listener of this
  // group.
  virtual Group& on_node() { return *this; }

  // Returns when all ranks have called it.
  virtual void barrier() = 0;

  // `output` [n] on every rank becomes the sum of `input` [n] over all ranks, added in rank order in f32 and
  // rounded once to the output type; so all ranks have the same bits. Input and output may have different
  // types (f32 partial sums, bf16 result). They may be the same memory if they have the same type.
  virtual void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                          int64_t n) = 0;

  // Rank r's `output` becomes elements [offsets[r], offsets[r + 1]) of the sum of `input` [offsets[size]].
  // Sums are in rank order and in f32.
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

  // Exchanges one number for each pair of ranks: `own` and `theirs` have [size] numbers, and theirs[r] is the
  // number that rank r has for this rank. It is an all_to_all of one element each, unless the backend has a
  // cheaper way.
  virtual void exchange_counts(const int64_t* own, int64_t* theirs);

  // Three of these collectives in split phase. A start may already move rows between nodes and returns
  // without waiting for anybody; finish() completes it. Until then the memory of all arguments, offsets
  // included, must not change. The exception is a rank's own part of what it reduces, which only finish()
  // reads. No other method of the group may be called in between (an invariant). The team is free for other
  // work.
  virtual void start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                                void* output);
  virtual void start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                                std::span<const int64_t> receive_offsets, size_t element_bytes);
  virtual void start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                                    void* output, DType output_dtype);
  virtual void finish() = 0;

  // A round trip: an all_to_all there and another one back, in flight at the same time. Parts of the rows
  // travel in their order while others are worked on, as far as the mesh can do that. Call
  // start_round_trip(), then await(p) and answer(p) with rising p up to the last part, then
  // finish_round_trip(), and no other method in between. Memory must not change until the end, except for the
  // answers before their answer().
  virtual void start_round_trip(const RoundTrip& trip);
  // True if await(part) would return at once. Not collective.
  virtual bool has_landed(int) { return false; }
  // Returns when the parts up to this one have arrived. The rows from ranks of this node have then all
  // arrived.
  virtual void await(int part);
  // Says that the answers of the parts up to this one are complete.
  virtual void answer(int part);
  virtual void finish_round_trip();

  // Returns zeroed memory of this rank, aligned to 64 bytes at least (2 MiB if large), that peers on the same
  // node can reach: rows in it move by one copy instead of two. Other memory may be used too and may only be
  // slower. Collective; `bytes` may differ between ranks. The memory must be released before the mesh is
  // destroyed. Memory that all ranks have released is given back to the system by a later call at the latest.
  // If the system refuses, its error is thrown.
  virtual std::shared_ptr<void> exchange_memory(size_t bytes) = 0;

  // Returns zeroed memory that is the same on every rank, so that peers read each other's rows in place; null
  // if the ranks do not share an address space. `bytes` must be the same on all ranks. Collective.
  virtual std::shared_ptr<void> common_memory(size_t bytes) = 0;
  // Counts rows that ranks read from each other in place as the all_to_all that they replace. It moves
  // nothing and waits for nobody.
  virtual void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                           size_t element_bytes) = 0;

  // Sets a function that is told of every wait for peers when the wait is over; empty: nobody is told.
  // Traffic sums up the waits for the own node. All ranks have the same waits in the same order.
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

// Makes exchange memory for backends whose peers share one address space: ordinary memory is enough there.
inline std::shared_ptr<void> make_exchange_buffer(size_t bytes) {
  const auto buffer = std::make_shared<Buffer>(bytes);
  return {buffer, buffer->data()};
}

// The rest is for backends: the arguments of a call as peers see them, and checks of one rank's arguments and
// of calls that should go together.

// The arguments of a call. It has cache lines of its own, because peers read it while its neighbours are
// being written.
struct alignas(64) Call {
  CallKind kind = CallKind::barrier;
  DType input_dtype = DType::f32;
  DType output_dtype = DType::f32;
  int rank = 0;
  int64_t n = 0;
  size_t element_bytes = 0;
  std::span<const int64_t> offsets = {};          // offsets of what is sent, [ranks + 1]
  std::span<const int64_t> receive_offsets = {};  // for all_to_all, [ranks + 1]
  const void* input = nullptr;
  void* output = nullptr;
  const void* far_input = nullptr;  // for all_to_all, if rows have another form between nodes
  // The MPI mesh compares calls by these two (mesh/mpi/call_agreement.h): the hashes are equal if the calls
  // go together, and the differences of all ranks add up to 0 if the counts agree.
  uint64_t hash = 0, difference = 0;
};

Call call_of(const Started& started);

// Returns "" if all calls go together, as far as arguments must be the same on all ranks. If any two differ,
// each rank gets a message about one that differs from its own, calls[own].
std::string find_disagreement(std::span<const Call> calls, size_t own);

// Returns "" if at an all_to_all every rank of `calls` expects what each other rank sends to it.
std::string find_count_disagreement(std::span<const Call> calls);
std::string count_disagreement(int from, int64_t sent, int to, int64_t expected);

// offsets must be [num_ranks + 1], start at 0 and never decrease. Throws CollectiveError.
void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks);
void check_count(const char* collective, int64_t n);

}  // namespace moehill
