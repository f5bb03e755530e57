// RouteWaves: the order in which the rows of a RaggedRoute travel when every device takes its experts in
// waves.
#pragma once

#include <span>
#include <vector>

#include "moehill/parallel/ragged_route.h"

namespace moehill {

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
  // Of a row with these k choices.
  int first_wave(const RaggedRoute::Choice* choices) const;
  int last_wave(const RaggedRoute::Choice* choices) const;

  const RaggedRoute& route_;
  int num_waves_, num_devices_, rank_, topk_;
  int64_t num_own_;
  std::vector<int64_t> experts_;
  std::vector<int> wave_of_;  // [E + 1] of an expert among its device's; -1 of nobody's
  Order sent_, received_, answer_, answered_;
  std::vector<int32_t> sent_token_, answer_token_, answered_row_;
  std::vector<Range> answers_;
  std::vector<int64_t> next_;  // [waves]
};

}  // namespace moehill
