// This header has the routes of rows on the paths that send tokens to their experts: the assignments of a
// device's tokens (OwnAssignments), the rows that the device therefore sends and receives (RaggedRoute), and
// the order in which they travel if devices take their experts in waves (RouteWaves). Routes hold numbers
// only; a RowExchange moves the rows of x. parallel/hierarchical_route.h has a route in two levels.
//
//     RaggedRoute route(config, routing, rank);
//     route.bind(routing, token_offsets);
//     route.make(group);          // in each step; collective
//     route.received();           // [T, k] the routing that this device's block plans from
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/mesh/group.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// OwnAssignments are the assignments of a device's own tokens in a routing. Assignment i belongs to token
// tokens.begin + i / k.
class OwnAssignments {
 public:
  OwnAssignments(const RunConfig& config, const Routing& routing, Range tokens);
  // Takes another routing, with as many tokens or fewer.
  void bind(const Routing& routing, Range tokens);

  // Decides which assignments the capacity keeps. Collective if the capacity counts across devices. If the
  // capacity keeps assignments by position, a device has to know how many assignments of each pool the
  // devices before it have, so it sends one count for each pool. If the capacity keeps them by gate value, or
  // spills, a device has to know all choices, so it sends 8 bytes for each assignment and 4 for each spare.
  // If each device is a source of its own (routing/capacity.h), it sends nothing.
  void drop(Group& group);
  // Overwrites the result of drop(): no assignment is kept.
  void spoil();

  int64_t size() const { return size_; }
  int32_t expert(int64_t i) const { return decided_->expert[static_cast<size_t>(decided_begin_ + i)]; }
  float weight(int64_t i) const { return routing_->weight[static_cast<size_t>(begin_ + i)]; }
  bool kept(int64_t i) const {
    return expert(i) != kNoExpert && expert(i) != nobody_ &&
           (kept_.empty() || kept_[static_cast<size_t>(i)] != 0);
  }

 private:
  void drop_by_counts(Group& group);
  const Routing& gather_all(Group& group);

  const Routing* routing_;
  int64_t begin_, size_;
  const Routing* decided_;  // the routing after the capacity, if a limiter decides; otherwise routing_
  int64_t decided_begin_;
  Capacity capacity_;
  // A RaggedRoute gives this expert id, E, to choices of other devices' experts. No device has it.
  int32_t nobody_;
  int64_t capacity_rows_ = 0;
  std::vector<char> kept_;  // empty: all are kept
  // counts_ [P, pools] has the number of assignments of each device. count_ [pools] first has those of this
  // device; drop() then sets it to the sum over the devices before this one, and counts on.
  std::vector<int32_t> count_, counts_;
  std::vector<int64_t> offsets_;  // [P + 1] of what each device sends
  std::optional<CapacityLimiter> limiter_;
  Routing all_;  // the routing of all devices, if their choices are needed
  std::vector<int64_t> choice_offsets_, spare_offsets_;  // [P + 1] in all_
};

// RouteEnds says between which devices the rows of a route go, and how many there can be.
struct RouteEnds {
  int num_devices = 1, rank = 0;   // the devices that exchange rows
  std::vector<int32_t> device_of;  // [E] where rows for an expert go
  Range own_tokens;
  int64_t max_sent = 0, max_received = 0;
  bool sends_tokens = false;  // the route sends token numbers with the rows
};
// Returns the ends of rows that go from each token's device to the devices of its experts.
RouteEnds ends_at_experts(const RunConfig& config, int rank);

// RaggedRoute says which rows go where. It is made once in each step from the router's decision. A token's
// row goes once to every device that has one of the token's kept experts, with the gate values for these
// experts. If this is the token's own device, the row costs a copy and no message. Sent rows are ordered by
// device, then by token. So received rows are in the order of all tokens.
class RaggedRoute {
 public:
  // Choice is one of a row's k experts. The id E means no expert here.
  struct Choice {
    int32_t expert;  // E: none
    float weight;
  };

  RaggedRoute(const RunConfig& config, const Routing& routing, const RouteEnds& ends);
  RaggedRoute(const RunConfig& config, const Routing& routing, int rank)
      : RaggedRoute(config, routing, ends_at_experts(config, rank)) {}
  // Call it before the first make(), and for another routing. token_offsets [P + 1] says where each device's
  // tokens begin; together there are at most as many as the config has.
  void bind(const Routing& routing, std::span<const int64_t> token_offsets);
  // Binds a route that does not send token numbers. `own` are the own tokens in the routing, and `num_tokens`
  // is the most tokens that all devices have together.
  void bind(const Routing& routing, Range own, int64_t num_tokens);

  // Makes the route of a step. Collective. It exchanges counts (a number for each device), expert ids and
  // gate values (8 k bytes for each row).
  void make(Group& group);

  // Overwrites the result of make(), as ParallelPath::spoil_work_space() describes.
  void spoil(const MemoryVisitor& visit);

  int64_t max_sent() const { return std::ssize(sent_token_); }
  int64_t max_received() const { return max_received_; }
  int64_t num_sent() const { return send_offsets_.back(); }
  int64_t num_received() const { return receive_offsets_.back(); }
  const std::vector<int64_t>& send_offsets() const { return send_offsets_; }        // [P + 1] rows
  const std::vector<int64_t>& receive_offsets() const { return receive_offsets_; }  // [P + 1] rows
  const int32_t* sent_token() const { return sent_token_.data(); }            // [sent] the own token of a row
  const Choice* sent_choices() const { return sent_choice_.data(); }          // [sent, k]
  const Choice* received_choices() const { return received_choice_.data(); }  // [received, k]
  // Returns [n, P]: the sent row of an own token for a device, or -1. Combine sums over these rows.
  const int32_t* row_at_device() const { return row_at_device_.data(); }
  // Returns the choices of the received rows [T, k], followed by rows without an expert. The device's block
  // plans from it; received row r is its token r.
  const Routing& received() const { return received_; }
  // Returns [received]: the token of a received row, numbered over all devices. Only for `fused`.
  const int32_t* received_token() const { return received_token_.data(); }
  // Returns where the own rows begin among the rows that `device` receives. Valid only after
  // exchange_places().
  int64_t place_at(int device) const { return places_[static_cast<size_t>(device)]; }
  // Tells each device where its rows begin at the others. A path that reads other devices' rows in place
  // needs it.
  void exchange_places(Group& group);
  int device_of(int expert) const { return device_of_[static_cast<size_t>(expert)]; }
  const OwnAssignments& own() const { return own_; }
  // Brings one value for each choice of a received row back to the device of its assignment: from received
  // [received, k] to own [n, k]. An assignment for which no row was sent gets 0. `returned` is work space
  // [sent, k]. Collective.
  void return_values(Group& group, const float* received, std::vector<float>& returned, float* own) const;

  // These return the most rows that a device can send or receive, the size of its buffers. A device receives
  // a token at most once, and with a capacity no more rows than its experts may keep.
  static int64_t max_sent(const RunConfig& config, int rank);
  static int64_t max_received(const RunConfig& config, int rank);

 private:
  void place_rows();
  void exchange_counts(Group& group);
  void exchange_choices(Group& group);
  void exchange_tokens(Group& group);

  int num_devices_, topk_, nobody_, rank_;
  int64_t max_received_;
  int64_t num_own_ = 0, num_tokens_ = 0;
  std::span<const int64_t> token_offsets_;
  bool sends_tokens_;
  OwnAssignments own_;
  std::vector<int32_t> device_of_;  // [E]
  // [P] The number of rows for each device, the number of rows from each, and where the own rows begin there.
  std::vector<int64_t> count_, counts_, places_;
  std::vector<int64_t> send_offsets_, receive_offsets_;
  std::vector<int32_t> sent_token_, row_at_device_, received_token_;
  std::vector<Choice> sent_choice_, received_choice_;  // [rows, k]
  Routing received_;
};

// Returns true if the path reads rows in place on devices that share an address space. ring_ag_rs does.
// `fused` does if the config asks for no waves, rows keep their type, and an int32 can number the rows of the
// partial sums of all devices.
bool reads_in_place(const RunConfig& config);

// Returns into how many waves devices cut their experts if rows go to other nodes. The number depends on the
// bytes that a device is expected to send to another, so that each part is worth a message. All devices get
// the same number.
int default_waves(const RunConfig& config);

// RouteWaves is the order in which rows travel if a device computes its experts in waves. While it multiplies
// one wave, the rows of the next are on their way. The cut gives each wave the same number of experts, and so
// the same bytes of weights; a wave may be empty. A row travels with the first wave that needs it, and its
// sum returns after the last wave that adds to it. Both ends derive the order from the row's expert ids, so
// no message is needed for it.
//
// Each order sorts by device, then by wave, then by the order of the route. So the offsets of the route stay
// valid.
class RouteWaves {
 public:
  RouteWaves(const RunConfig& config, const RaggedRoute& route, int rank, int num_waves);

  void make();  // after the route of the step was made
  // Overwrites the result of make(): no row travels, and rows have no token.
  void spoil(const MemoryVisitor& visit);

  int num_waves() const { return num_waves_; }
  std::span<const int64_t> experts() const { return experts_; }  // [waves + 1] cuts of this device's experts
  // Returns [sent]: the own token of a row, in the order of sending.
  const int32_t* sent_token() const { return is_one() ? route_.sent_token() : sent_token_.data(); }
  // Returns [received]: the row in which a token of the route arrives; null: token t arrives in row t.
  const int32_t* received_row() const { return is_one() ? nullptr : received_.place.data(); }
  // Returns [received]: the token of the route whose sum goes back in this row; null: row t has token t.
  const int32_t* answer_token() const { return is_one() ? nullptr : answer_token_.data(); }
  // Returns [n, P]: the row in which the sum of an own token comes back from a device, or -1.
  const int32_t* answered_row() const { return is_one() ? route_.row_at_device() : answered_row_.data(); }
  // Returns [waves][P - 1]: the rows of other devices' sums that are complete after a wave.
  std::span<const Range> answers() const { return answers_; }

  // These four return [P][waves + 1], the cuts of a RoundTrip (mesh/group.h).
  std::span<const int64_t> sent_cuts() const { return sent_.cuts; }
  std::span<const int64_t> received_cuts() const { return received_.cuts; }
  std::span<const int64_t> answer_cuts() const { return answer_.cuts; }
  std::span<const int64_t> answered_cuts() const { return answered_.cuts; }

 private:
  bool is_one() const { return num_waves_ == 1; }
  struct Order {
    std::vector<int64_t> cuts;
    std::vector<int32_t> place;  // [rows of the route]; empty with a single wave
  };
  template <typename WaveOf>
  void sort(Order& order, const std::vector<int64_t>& offsets, const WaveOf& wave_of);
  void list_answers();
  // These return the first and the last wave that needs a row with these k choices.
  int first_wave(const RaggedRoute::Choice* choices) const;
  int last_wave(const RaggedRoute::Choice* choices) const;

  const RaggedRoute& route_;
  int num_waves_, num_devices_, rank_, topk_;
  std::vector<int64_t> experts_;
  std::vector<int> wave_of_;  // [E + 1] the wave of an expert at its device; -1 for the id E
  Order sent_, received_, answer_, answered_;
  std::vector<int32_t> sent_token_, answer_token_, answered_row_;
  std::vector<Range> answers_;
  std::vector<int64_t> next_;  // [waves]
};

}  // namespace moehill
