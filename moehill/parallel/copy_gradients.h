// CopyGradients adds up the gradients of experts that several devices have copies of. Each device has the
// gradient of the rows that its own copy got. All copies end with the sum, because each device updates its
// own copy with it. CopyGradients is for expert parallelism with a placement that repeats experts
// (--placement). It is not for `dp`, where every device has every expert and an all-reduce sums the gradients
// (data_parallel_path.cc).
//
//     CopyGradients copies(placement, weights.routed_grad, rank, num_devices);
//     copies.sum(group);   // at the end of backward, on every device
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/moe/mlp.h"
#include "moehill/routing/placement.h"

namespace moehill {

// A place is a slot for one expert's weights on a device (routing/placement.h). A copy's gradient goes to the
// device of the expert's first place (its home). That device adds the gradients in f32 in the order of
// places, rounds once, and sends the sum back. So two gradients move for each place that is not a home.
class CopyGradients {
 public:
  // `gradients` are the gradients of all places. A device reads and writes only the ones of its own places.
  CopyGradients(const Placement& placement, const MlpWeights& gradients, int rank, int num_devices);

  // Sums the gradients of all copies. Collective: all devices call it. It allocates nothing, and without
  // copies it does nothing.
  void sum(Group& group);
  void spoil(const MemoryVisitor& visit) {
    visit_vector(sent_data_, visit);
    visit_vector(received_data_, visit);
  }

 private:
  static size_t bytes_of(const WeightView& part);  // bytes of one place in this matrix
  template <typename Visit>
  void for_each_part(const Visit& visit) const;
  void copy(ThreadTeam& team, bool into_buffer);  // copies between the gradients and sent_data_
  void add(ThreadTeam& team);

  MlpWeights gradients_;
  size_t place_bytes_ = 0;  // of all matrices together; 0 without copies
  // The own places that are not a home, in the order of their homes' devices.
  std::vector<int32_t> sent_;
  // For each gradient received, its home; in the order of the devices that send.
  std::vector<int32_t> home_;
  std::vector<int32_t> own_homes_;                       // the elements of home_, each once
  std::vector<int64_t> send_offsets_, receive_offsets_;  // [P + 1] in places
  std::vector<char> sent_data_, received_data_;          // [places][parts of a gradient]
  std::vector<char*> parts_;                             // the gradients for one home, in received_data_
};

}  // namespace moehill
