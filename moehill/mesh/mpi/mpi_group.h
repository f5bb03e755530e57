// MpiGroup is one rank's handle on the MPI mesh. It reaches peers on its node through shared memory, and
// ranks of other nodes by messages.
//
// A rank uses a peer's buffer in place if the peer is on this node and the buffer lies in exchange memory;
// otherwise the rows come as a message. When the ranks of a node meet, they publish where their buffers are.
// Both sides then know whether a message is needed, and no rank waits for a message that does not come.
// Between nodes, each pair of ranks that has rows exchanges a message. Before a rank waits for such rows, the
// nodes agree that both sides expect the same counts (CallAgreement).
//
//   MpiGroup group(comm, node, team, /*piece_bytes=*/0);   // collective; MpiMesh makes one
//   group.all_gather(rows, offsets, row_bytes, all_rows);
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/mpi/call_agreement.h"
#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/count_exchange.h"
#include "moehill/mesh/mpi/exchange_windows.h"
#include "moehill/mesh/mpi/messages.h"
#include "moehill/mesh/mpi/node_rendezvous.h"
#include "moehill/tensor/buffer.h"

namespace moehill {

// Unlike on the threads mesh, a failure is final: after it the group cannot be used any more, and the caller
// has to end the job by Session::fail(), because other ranks may be waiting for this one. The one exception
// is a CollectiveError in a job whose ranks are all on one node: it is thrown before anything is sent.
class MpiGroup final : public Group {
 public:
  // Collective over `comm`, as is the destructor. `node` has the ranks that share memory with this one, in
  // the order of `comm`. `team` must outlive the group. piece_bytes is the size of message pieces; 0:
  // quickest_piece_bytes(). names: [ranks of the node] the numbers that error messages use for them; empty:
  // their ranks in `comm`.
  MpiGroup(MPI_Comm comm, MPI_Comm node, ThreadTeam& team, size_t piece_bytes, std::vector<int> names = {});

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  ThreadTeam& team() override { return team_; }
  Reach reach() const override { return num_local_ == size_ ? Reach::node : Reach::messages; }
  Group& on_node() override { return on_node_ == nullptr ? *this : *on_node_; }
  void barrier() override;
  void exchange_counts(const int64_t* own, int64_t* theirs) override;
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) override;
  void start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                        void* output) override;
  void start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                        std::span<const int64_t> receive_offsets, size_t element_bytes) override;
  void start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                            void* output, DType output_dtype) override;
  void finish() override;
  void start_round_trip(const RoundTrip& trip) override;
  bool has_landed(int part) override;
  void await(int part) override;
  void answer(int part) override;
  void finish_round_trip() override;
  std::shared_ptr<void> exchange_memory(size_t bytes) override;
  std::shared_ptr<void> common_memory(size_t bytes) override;
  void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                   size_t element_bytes) override;
  Traffic traffic() const override;

  // Tells the peers of the node that this rank's program ends here. A peer that is at another call then
  // throws CollectiveError, and so does this rank.
  void end_program();

 private:
  bool is_local(int rank) const { return nodes().of(rank) == nodes().of(rank_); }
  // Returns the rank within the node, or -1 for ranks of other nodes.
  int local_of(int rank) const { return is_local(rank) ? nodes().place(rank) : -1; }
  // These two return the memory that a rank of this node published at the meeting, at its address in this
  // process.
  char* input_of(int rank) const;
  char* output_of(int rank) const;
  bool input_by_message(int rank, size_t bytes) const;
  bool output_by_message(int rank, size_t bytes) const;
  // Returns the i-th rank after this one. Each rank begins with another peer, so that not all ranks send to
  // the same peer at once.
  int other(int i) const { return (rank_ + i) % size_; }

  // A call begins with announce(), which returns the tag of its rows. Then come meet(), which waits for the
  // node, and agree(), which waits for the other nodes. Rows within the node move between the two, so that
  // they need not wait for other nodes.
  int announce(const Call& call);
  int announce(const Call& call, const CallDigest& digest);
  void meet(const Call& call, size_t input_bytes, size_t output_bytes);
  void agree();
  bool other_nodes_agree();
  void carry_counts();
  int64_t* carried_counts(int local_rank) const;
  void tell_difference();
  void tell_counts();
  void abandon_messages();
  void report_wait_across(double begin, double came) const;
  void gather_at(const Call& call);
  // Slices are an input that `offsets` cut into one slice for each rank. A rank sends each peer the peer's
  // slice of its own input.
  struct Slices {
    const char* input;
    std::span<const int64_t> offsets;
    size_t element_bytes;
  };
  void post_slices(const Slices& slices, bool local);
  void collect_slices(const char* collective, const Slices& slices);
  void reduce_slices(const Started& call);
  void spread_slices(const char* collective, void* output, std::span<const int64_t> offsets,
                     size_t element_bytes);
  char* scratch(size_t bytes);
  void post_to_other_nodes();
  void move_on();
  void fly();
  void land();
  bool travels_in_parts(const RoundTrip& trip) const;
  Call call_of_trip() const;
  void move_trip_rows(const Started& way);
  void move_local_rows(const Started& call);
  const void* source_of(const Started& call, int from) const;

  Communicator comm_, node_;
  const int rank_, size_;
  ThreadTeam& team_;
  int num_local_ = 1, local_rank_ = 0;
  int node_rank_ = 0;  // the first rank of this node
  ExchangeWindows windows_;
  std::optional<SharedWindow> meeting_place_;
  std::optional<NodeRendezvous> rendezvous_;
  std::optional<Messages> messages_;
  std::optional<TripMessages> trip_messages_;
  bool trip_agreed_ = false;
  std::optional<CallHeaders> headers_;
  MessageCount sent_;
  std::optional<CallAgreement> agreement_;
  std::optional<CountExchange> counts_;  // only on the first rank of a node
  // On that rank: [ranks of the node][size] the numbers sent to them.
  std::optional<SharedWindow> counts_window_;
  Call call_;  // the call that was announced last
  bool is_agreed_ = true;
  std::vector<bool> fits_;           // [size] false: this rank and that one expect different counts
  NodeRendezvous::Meeting meeting_;  // of the collective that is running
  Buffer scratch_;                   // slices that were received; kept between calls
  // These are members so that a collective allocates nothing.
  std::vector<int64_t> slices_;      // [size + 1]
  std::vector<const void*> inputs_;  // [size]
  std::vector<void*> outputs_;       // up to num_local_
  Traffic traffic_;
  std::unique_ptr<MpiGroup> on_node_;  // only if there are several nodes
  double flight_begin_ = 0;
  double announced_ = 0, answered_ = 0;  // times of the last announcement, and of the last complete answers
};

}  // namespace moehill
