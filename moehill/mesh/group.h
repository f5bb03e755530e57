// Group: the collectives of one device with its peers, their arguments, and their checks. A method exists
// only if every backend implements it and the conformance suite covers it. Rows, bytes and ranks; no experts,
// no tokens.
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

// Bytes that this device sent and received so far (a local read of a peer's memory counts as received by the
// reader and as sent by the owner: what a network would have moved).
struct Traffic {
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  // Seconds until all peers (on MPI: those of the node) had come to the collectives: waiting, not moving.
  double wait_seconds = 0;
  // Messages that travelled while the team worked: how long, and how often they were moved on meanwhile.
  double flight_seconds = 0;
  int64_t progress_calls = 0;
  // On MPI: messages that this rank gave to the library, and the bytes in them, those of agreement included.
  // Rows that peers of the node take from shared memory are in none.
  int64_t num_messages = 0;
  uint64_t message_bytes = 0;
  uint64_t network_bytes = 0;  // of sent_bytes, those to ranks of other nodes

  Traffic& operator+=(const Traffic& other);
  Traffic since(const Traffic& before) const;
};

// The way that the rows of the farthest peer come: its memory at the same addresses as here, memory of the
// node at others, or messages, which travel while the team works on something else.
enum class Reach { addresses, node, messages };

// Rows may have another form on the way to ranks of other nodes. Row i of `sent` then goes in place of row i
// of the input, and arrives as row i of `received` in place of row i of the output.
struct FarRows {
  size_t row_bytes = 0;  // 0: they go as they are
  const void* sent = nullptr;
  void* received = nullptr;
};

// The arguments of a collective in split phase, noted by its start for its finish().
struct Started {
  std::optional<Collective> kind = {};  // not all_reduce; none: nothing is started
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1]; not of all_gather
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]; not of reduce_scatter
  size_t element_bytes = 0;
  DType input_dtype = DType::f32, output_dtype = DType::f32;  // reduce_scatter only
  FarRows far = {};                                           // all_to_all only

  const char* name() const { return name_of(kind.value()); }
};

// The arguments of a collective whose rows go to other ranks, are worked on there, and are answered by as
// many rows, both ways in parts. Part p of the rows to (from) rank r is [cuts[r * (num_parts + 1)
// + p], cuts[r * (num_parts + 1) + p + 1]) of the array. Parts may be empty; how the answers are cut has
// nothing to do with how the rows were.
struct RoundTrip {
  int num_parts = 1;  // the same on all ranks
  size_t row_bytes = 0;
  std::span<const int64_t> send_offsets, receive_offsets;  // [ranks + 1] rows
  const void* sent = nullptr;                              // [rows sent]
  void* received = nullptr;                                // [rows received]
  const void* answer = nullptr;                            // [rows received], where it goes back from
  void* answered = nullptr;                                // [rows sent]; not `sent`
  // [ranks][num_parts + 1]; of one part none are needed.
  std::span<const int64_t> sent_cuts = {}, received_cuts = {}, answer_cuts = {}, answered_cuts = {};
  FarRows far = {};  // of the rows; the answers go as they are
};

// One device's handle. All methods are collective: every rank calls them in the same order, from the device's
// leading thread; the device's team does the copying and adding. Counts may differ between ranks and may be
// zero.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual ThreadTeam& team() = 0;
  virtual Reach reach() const = 0;  // the same on all ranks; not collective

  // The nodes of the ranks, the same on all of them.
  const Nodes& nodes() const { return nodes_; }
  // The ranks of this rank's node as a mesh of their own, in their order: this group where it is one node's.
  // Its collectives concern nobody else, and may be called while nothing is in flight here. traffic() of this
  // group has its bytes, and whoever hears of waits here hears of those there.
  virtual Group& on_node() { return *this; }

  virtual void barrier() = 0;

  // `output` [n] on every rank becomes the sum of `input` [n] over ranks, added in rank order in f32 (the
  // same bits on every rank), rounded once to the output type. Input and output may have different types (f32
  // partial sums, bf16 result); they may be the same memory if the types are.
  virtual void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                          int64_t n) = 0;

  // Elements [offsets[r], offsets[r + 1]) of the sum of `input` [offsets[size]] go to rank r's `output`. Rank
  // order, f32 sums.
  void reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets, void* output,
                      DType output_dtype) {
    start_reduce_scatter(input, input_dtype, offsets, output, output_dtype);
    finish();
  }

  // Rank r's `input` [offsets[r + 1] - offsets[r]] elements of `element_bytes` land at offsets[r] of every
  // rank's `output`. `input` may already lie in its place in `output`.
  void all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes, void* output) {
    start_all_gather(input, offsets, element_bytes, output);
    finish();
  }

  // Elements [send_offsets[r], send_offsets[r + 1]) of `input` go to rank r; what rank r sends arrives at
  // receive_offsets[r]. Throws CollectiveError if the counts do not agree pairwise, as far as that is seen.
  void all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                  std::span<const int64_t> receive_offsets, size_t element_bytes) {
    start_all_to_all(input, send_offsets, output, receive_offsets, element_bytes);
    finish();
  }

  // A number of each rank for each other one, `own` and `theirs` [size]: theirs[r] is what rank r has for
  // this one. An all_to_all of one element each, where nothing is cheaper.
  virtual void exchange_counts(const int64_t* own, int64_t* theirs);

  // Three of these collectives in split phase: a start may already move rows between nodes, and returns
  // without waiting for anybody; finish() completes it. Until then the memory of all arguments, offsets
  // included, must stay as it is, but for a rank's own part of what it reduces, which is read by finish()
  // alone; and no other method of the group may be called (an invariant). The team is free for other work.
  virtual void start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                                void* output);
  virtual void start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                                std::span<const int64_t> receive_offsets, size_t element_bytes);
  virtual void start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                                    void* output, DType output_dtype);
  virtual void finish() = 0;

  // An all_to_all there and another back, in flight together: parts of the rows travel in their order while
  // others are worked on, as far as the mesh can. start, await(p) for some p, answer(p) for some p up to the
  // last, finish_round_trip(); no other method in between. Memory stays as it is until the end, but for the
  // answers before their answer().
  virtual void start_round_trip(const RoundTrip& trip);
  // True if await(part) would return at once. Not collective.
  virtual bool has_landed(int) { return false; }
  // Returns when the parts up to this one are there, and so are those of the ranks of this node, all of them.
  virtual void await(int part);
  // The answers of the parts up to this one are complete.
  virtual void answer(int part);
  virtual void finish_round_trip();

  // Zeroed memory of this rank, 64-byte aligned at least (2 MiB when large), that the peers on the same node
  // reach too: rows that lie in it move by one copy. Collective; `bytes` may differ between ranks. Any other
  // memory is as right and may be slower. It must be gone before the mesh is, and what is gone on all ranks
  // is given back to the system by a later call at the latest. Throws what the system's refusal is.
  virtual std::shared_ptr<void> exchange_memory(size_t bytes) = 0;

  // Zeroed memory that is the same on every rank, so that peers read each other's rows in place; `bytes` is
  // the same everywhere. Null where not all ranks share an address space. Collective.
  virtual std::shared_ptr<void> common_memory(size_t bytes) = 0;
  // Rows that ranks read from each other in place, counted as the all_to_all that they stand for. Moves
  // nothing and waits for nobody.
  virtual void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                           size_t element_bytes) = 0;

  // Sets who is told of every wait for peers when it is over; empty: nobody. Those for the own node are what
  // Traffic sums up. All ranks have the same waits in the same order.
  void report_waits_to(std::function<void(const Wait&)> listener) { wait_listener_ = std::move(listener); }

  // Bytes as mesh/traffic.h counts them; barrier() counts nothing.
  virtual Traffic traffic() const = 0;

  // The invariant of the split phase: nothing is in flight when `call` begins.
  void require_idle(const char* call) const;
  // Forgets what was started, which will not be finished after a failed run.
  void abandon() { started_ = {}, far_ = {}; }

 protected:
  // Returns what finish() has to do; nothing is in flight afterwards, whatever becomes of it.
  Started take_started();
  const Started& started() const { return started_; }
  const RoundTrip& trip() const { return trip_; }
  // Notes the arguments of a round trip.
  void begin_trip(const RoundTrip& trip);
  void report_wait(const Wait& wait) const {
    if (wait_listener_) wait_listener_(wait);
  }
  void set_nodes(Nodes nodes) { nodes_ = std::move(nodes); }
  // Bytes that this rank sends to ranks of other nodes at a call that was started.
  uint64_t network_bytes(const Started& call) const;
  // Adds the bytes of an all_to_all to `traffic`.
  void count_rows(const Started& call, Traffic& traffic) const;

 private:
  Started started_;
  RoundTrip trip_;
  bool trip_landed_ = false;
  FarRows far_;                    // of the all_to_all that starts next
  std::vector<int64_t> one_each_;  // [size + 1] offsets of one element for each rank
  Nodes nodes_;
  std::function<void(const Wait&)> wait_listener_;
};

// Exchange memory where all peers share one address space: any memory will do.
inline std::shared_ptr<void> make_exchange_buffer(size_t bytes) {
  const auto buffer = std::make_shared<Buffer>(bytes);
  return {buffer, buffer->data()};
}

// For backends: what peers see of a call, and the checks of one rank's arguments and of calls that do not go
// together.

// A call lies on cache lines of its own: peers read it while its owner's neighbours write theirs.
struct alignas(64) Call {
  CallKind kind = CallKind::barrier;
  DType input_dtype = DType::f32;
  DType output_dtype = DType::f32;
  int rank = 0;
  int64_t n = 0;
  size_t element_bytes = 0;
  std::span<const int64_t> offsets = {};          // what is sent, [ranks + 1]
  std::span<const int64_t> receive_offsets = {};  // all_to_all, [ranks + 1]
  const void* input = nullptr;
  void* output = nullptr;
  const void* far_input = nullptr;  // all_to_all, where rows have another form between nodes
  // The MPI mesh compares calls by these (mesh/mpi/call_agreement.h): the first is equal if calls go
  // together, the second has the sum 0 over all ranks if their counts do.
  uint64_t hash = 0, difference = 0;
};

Call call_of(const Started& started);

// Returns an empty text if all calls go together as far as every rank passes the same. If any two differ,
// every rank sees one that differs from its own, calls[own].
std::string find_disagreement(std::span<const Call> calls, size_t own);

// Returns an empty text if, at an all_to_all, every rank of `calls` expects what every other one sends to it.
std::string find_count_disagreement(std::span<const Call> calls);
std::string count_disagreement(int from, int64_t sent, int to, int64_t expected);

// offsets: [num_ranks + 1], starting at 0 and never falling. Throws CollectiveError.
void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks);
void check_count(const char* collective, int64_t n);

}  // namespace moehill
