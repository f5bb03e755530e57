// Copy gradients: experts that several devices have copies of. Each device has the gradients of the rows that
// its own copy got, and all end with their sum, as they would update their copies.
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/moe/mlp.h"
#include "moehill/routing/placement.h"

namespace moehill {

// A copy's gradient goes to the device of the expert's first place (its home), is added there in f32 in the
// order of places, rounded once, and the sum comes back. So what moves is two gradients for each place that
// is not a home.
class CopyGradients {
 public:
  // gradients: of all places; a device reads and writes those of its own.
  CopyGradients(const Placement& placement, const MlpWeights& gradients, int rank, int num_devices);

  // Collective. Allocates nothing. Nothing to do without copies.
  void sum(Group& group);
  void spoil(const MemoryVisitor& visit) {
    visit_vector(sent_data_, visit);
    visit_vector(received_data_, visit);
  }

 private:
  static size_t bytes_of(const WeightView& part);  // of one place
  template <typename Visit>
  void for_each_part(const Visit& visit) const;
  void copy(ThreadTeam& team, bool into_buffer);  // between gradients and sent_data_
  void add(ThreadTeam& team);

  MlpWeights gradients_;
  size_t place_bytes_ = 0;          // of all parts; 0 without copies
  std::vector<int32_t> sent_;       // own places that are no homes, by the device of their home
  std::vector<int32_t> home_;       // of each received gradient, by the device that it is from
  std::vector<int32_t> own_homes_;  // those of home_, each once
  std::vector<int64_t> send_offsets_, receive_offsets_;  // [P + 1] places
  std::vector<char> sent_data_, received_data_;          // [places][parts of a gradient]
  std::vector<char*> parts_;                             // of one home, in received_data_
};

}  // namespace moehill
