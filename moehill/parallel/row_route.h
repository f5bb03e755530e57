// Routes of rows on the paths that send tokens to their experts: which assignments a device's tokens have
// (OwnAssignments), which rows it therefore sends and receives (RaggedRoute), and in what order they travel
// where devices take their experts in waves (RouteWaves).
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

// A view of the routing: assignment i is that of token tokens.begin + i / k.
class OwnAssignments {
 public:
  OwnAssignments(const RunConfig& config, const Routing& routing, Range tokens);
  // Takes another routing, for which there may be fewer tokens.
  void bind(const Routing& routing, Range tokens);

  // Collective where the capacity drops across devices. In the order of positions a device must know how
  // many of each pool the devices before it have: sends a count a pool. By gate value, and for spilling, it
  // must know all choices: sends 8 bytes an assignment, and 4 a spare. With sources of its own it sends
  // nothing.
  void drop(Group& group);
  // Spoils what drop() makes: nothing is kept, and nobody has assignments.
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
  const Routing* decided_;  // under the capacity, where a limiter decides; else routing_
  int64_t decided_begin_;
  Capacity capacity_;
  int32_t nobody_;  // of a routing that has gone through a RaggedRoute: others' experts
  int64_t capacity_rows_ = 0;
  std::vector<char> kept_;               // empty: all
  std::vector<int32_t> count_, counts_;  // [pools] of the own tokens, then running; [P, pools] of all devices
  std::vector<int64_t> offsets_;         // [P + 1] times what a device sends
  std::optional<CapacityLimiter> limiter_;
  Routing all_;                                          // of all devices, where their choices are needed
  std::vector<int64_t> choice_offsets_, spare_offsets_;  // [P + 1] in all_
};

// Between whom the rows of a route go, and the most that there can be.
struct RouteEnds {
  int num_devices = 1, rank = 0;   // of the group that exchanges them
  std::vector<int32_t> device_of;  // [E] where the rows of an expert's tokens go
  Range own_tokens;
  int64_t max_sent = 0, max_received = 0;
  bool sends_tokens = false;  // receivers hear which tokens the rows are
};
// The ends of rows that go from each device to those of the experts.
RouteEnds ends_at_experts(const RunConfig& config, int rank);

// Which rows go where: made once a step from the router's decision. A token is sent once to every device that
// holds a kept expert of its own, with the gate values of those experts; itself included, which costs a copy
// and no message. Sent rows are ordered by device, then by token, so that received rows come in the order of
// all tokens.
class RaggedRoute {
 public:
  struct Choice {
    int32_t expert;  // E: nobody's
    float weight;
  };

  RaggedRoute(const RunConfig& config, const Routing& routing, const RouteEnds& ends);
  RaggedRoute(const RunConfig& config, const Routing& routing, int rank)
      : RaggedRoute(config, routing, ends_at_experts(config, rank)) {}
  // Call it before the first make(), and for another routing. token_offsets [P + 1]: each device's tokens, at
  // most as many as the config's.
  void bind(const Routing& routing, std::span<const int64_t> token_offsets);
  // This binds a route that sends no tokens: to the own ones among the routing's, and to the most that all
  // devices have together.
  void bind(const Routing& routing, Range own, int64_t num_tokens);

  // Collective: exchanges counts (a number for each device), expert ids and gate values (8 k bytes a row).
  void make(Group& group);

  // Spoils what make() makes, as ParallelPath::spoil_work_space().
  void spoil(const MemoryVisitor& visit);

  int64_t max_sent() const { return std::ssize(sent_token_); }
  int64_t max_received() const { return max_received_; }
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
  // The own rows begin here among those that `device` receives; after exchange_places() alone.
  int64_t place_at(int device) const { return places_[static_cast<size_t>(device)]; }
  // For those who read other devices' rows in place: each is told where its own begin.
  void exchange_places(Group& group);
  int device_of(int expert) const { return device_of_[static_cast<size_t>(expert)]; }
  const OwnAssignments& own() const { return own_; }
  // Brings numbers of received rows back to the own assignments, which get 0 where nothing was sent: received
  // [received, k], own [n, k]. returned: [sent, k] work space. Collective.
  void return_values(Group& group, const float* received, std::vector<float>& returned, float* own) const;

  // Most rows that a device can send or receive, and so what its buffers have: it receives a token once at
  // most, and with a capacity no more rows than its experts may keep.
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
  std::vector<int64_t> count_, counts_,
      places_;  // [P] rows to each device, of each, and where they are there
  std::vector<int64_t> send_offsets_, receive_offsets_;
  std::vector<int32_t> sent_token_, row_at_device_, received_token_;
  std::vector<Choice> sent_choice_, received_choice_;  // [rows, k]
  Routing received_;
};

// Into how many waves devices cut their experts where rows go to other nodes: by the bytes that one device is
// expected to send another, so that a part is worth a message. The same on all devices.
int default_waves(const RunConfig& config);

// A device's experts are cut evenly by number, and so by bytes of weights; waves may be empty. A row travels
// with the first wave that needs it, and its sum returns after the last one that adds to it. Both ends know
// that from the row's expert ids, so nothing is sent for it.
//
// All orders are by device, then by wave, then as in the route, whose offsets hold for them.
class RouteWaves {
 public:
  RouteWaves(const RunConfig& config, const RaggedRoute& route, int rank, int num_waves);

  void make();  // after the route of a step was made
  // Spoils what make() makes: nothing travels, and rows are nobody's.
  void spoil(const MemoryVisitor& visit);

  int num_waves() const { return num_waves_; }
  std::span<const int64_t> experts() const { return experts_; }  // [waves + 1] of this device's
  // [sent] own token of a row as it is sent.
  const int32_t* sent_token() const { return is_one() ? route_.sent_token() : sent_token_.data(); }
  // [received] where the row of a token of the route is, as it is received; null: in its order.
  const int32_t* received_row() const { return is_one() ? nullptr : received_.place.data(); }
  // [received] which token of the route a sum is of, as it goes back; null: in its order.
  const int32_t* answer_token() const { return is_one() ? nullptr : answer_token_.data(); }
  // [n, P] where the sum of an own token comes back from a device, or -1.
  const int32_t* answered_row() const { return is_one() ? route_.row_at_device() : answered_row_.data(); }
  // [waves][P - 1] rows of other devices' sums that are complete after a wave.
  std::span<const Range> answers() const { return answers_; }

  // [P][waves + 1] as in RoundTrip.
  std::span<const int64_t> sent_cuts() const { return sent_.cuts; }
  std::span<const int64_t> received_cuts() const { return received_.cuts; }
  std::span<const int64_t> answer_cuts() const { return answer_.cuts; }
  std::span<const int64_t> answered_cuts() const { return answered_.cuts; }

 private:
  bool is_one() const { return num_waves_ == 1; }
  struct Order {
    std::vector<int64_t> cuts;
    std::vector<int32_t> place;  // [rows of the route]; not of one wave
  };
  template <typename WaveOf>
  void sort(Order& order, const std::vector<int64_t>& offsets, const WaveOf& wave_of);
  void list_answers();
  // Answers for a row with these k choices.
  int first_wave(const RaggedRoute::Choice* choices) const;
  int last_wave(const RaggedRoute::Choice* choices) const;

  const RaggedRoute& route_;
  int num_waves_, num_devices_, rank_, topk_;
  std::vector<int64_t> experts_;
  std::vector<int> wave_of_;  // [E + 1] of an expert among its device's; -1 of nobody's
  Order sent_, received_, answer_, answered_;
  std::vector<int32_t> sent_token_, answer_token_, answered_row_;
  std::vector<Range> answers_;
  std::vector<int64_t> next_;  // [waves]
};

}  // namespace moehill
