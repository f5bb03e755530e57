// ThreadGroup is one device's handle on the threads mesh. Its collectives read and write the peers' memory
// directly, so it sends no messages. MPI has a group of its own (mesh/mpi/mpi_group.h).
//
//   ThreadMesh mesh(/*num_devices=*/2, /*threads_per_device=*/1, {});   // makes the groups
//   mesh.run([&](Group& group) { group.barrier(); });                   // on both devices at the same time
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/threads/rendezvous.h"

namespace moehill {

// ThreadMesh makes and owns the groups, one for each device.
class ThreadGroup final : public Group {
 public:
  // `rendezvous` and `team` must outlive the group.
  ThreadGroup(int rank, int size, Rendezvous& rendezvous, ThreadTeam& team);
  // Makes this process look like several nodes: `node` is this device's group within its node and must
  // outlive this object.
  void take_nodes(const Nodes& nodes, ThreadGroup& node);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  ThreadTeam& team() override { return team_; }
  Reach reach() const override { return Reach::addresses; }
  Group& on_node() override { return node_ == nullptr ? *this : *node_; }
  void barrier() override;
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) override;
  void finish() override;
  std::shared_ptr<void> exchange_memory(size_t bytes) override;
  std::shared_ptr<void> common_memory(size_t bytes) override;
  void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                   size_t element_bytes) override;
  Traffic traffic() const override;

 private:
  std::span<const Call> meet(const Call& call);
  void reduce_slices(const Started& call);
  void all_gather_rows(const Started& call);
  void all_to_all_rows(const Started& call);
  void copy_rows(std::span<const Call> calls, const Started& call, bool far);
  bool receives_what_peers_send(std::span<const Call> calls, std::span<const int64_t> receive_offsets);

  const int rank_;
  const int size_;
  Rendezvous& rendezvous_;
  ThreadTeam& team_;
  // [size] the memory that the peers published in the running collective. These are members so that a
  // collective allocates nothing.
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  Traffic traffic_;
  ThreadGroup* node_ = nullptr;
  int number_of_node_ = 0;  // the number of the node, if this is the group of a node
};

}  // namespace moehill
