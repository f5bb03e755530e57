// Which rows go where on the ragged path: made once a step from the router's decision.
#pragma once

#include <vector>

#include "moehill/parallel/own_assignments.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// A token is sent once to every device that holds a kept expert of its own, with the gate values of those
// experts; itself included, which costs a copy and no message. Sent rows are ordered by device, then by
// token, so that received rows come in the order of all tokens.
class RaggedRoute {
 public:
  struct Choice {
    int32_t expert;  // E: nobody's
    float weight;
  };

  RaggedRoute(const RunConfig& config, const Routing& routing, int rank);

  // Collective: exchanges counts (P numbers a device), expert ids and gate values (8 k bytes a row).
  void make(Group& group);

  // Spoils what make() makes, as ParallelPath::spoil_work_space().
  void spoil(const MemoryVisitor& visit);

  int64_t num_sent() const { return send_offsets_.back(); }
  int64_t num_received() const { return receive_offsets_.back(); }
  const std::vector<int64_t>& send_offsets() const { return send_offsets_; }        // [P + 1] rows
  const std::vector<int64_t>& receive_offsets() const { return receive_offsets_; }  // [P + 1] rows
  const int32_t* sent_token() const { return sent_token_.data(); }            // [sent] own token of a row
  const Choice* sent_choices() const { return sent_choice_.data(); }          // [sent, k]
  const Choice* received_choices() const { return received_choice_.data(); }  // [received, k]
  // [n, P] the sent row of an own token at a device, or -1: what combine sums over.
  const int32_t* row_at_device() const { return row_at_device_.data(); }
  // [T, k] of the received rows, then of nobody: what the device's block plans from. Received row r is token
  // r.
  const Routing& received() const { return received_; }
  // [received] token of a received row, counted over all devices; `fused` only.
  const int32_t* received_token() const { return received_token_.data(); }
  // Where the own rows begin among those that `device` receives.
  int64_t place_at(int device) const;
  int device_of(int expert) const { return device_of_[static_cast<size_t>(expert)]; }
  const OwnAssignments& own() const { return own_; }

  // Most rows that a device can send or receive.
  static int64_t max_sent(const RunConfig& config, int rank);

 private:
  void place_rows();
  void exchange_counts(Group& group);
  void exchange_choices(Group& group);
  void exchange_tokens(Group& group);

  int num_devices_, topk_, nobody_, rank_;
  int64_t num_own_, num_tokens_;
  bool sends_tokens_;
  OwnAssignments own_;
  std::vector<int32_t> device_of_;  // [E]
  std::vector<int64_t> count_, counts_,
      count_offsets_;  // [P] rows to each device, [P, P] of all, P's multiples
  std::vector<int64_t> send_offsets_, receive_offsets_;
  std::vector<int32_t> sent_token_, row_at_device_, received_token_;
  std::vector<Choice> sent_choice_, received_choice_;  // [rows, k]
  Routing received_;
};

}  // namespace moehill
