// Implementation of simulation/exchange.h: which message becomes which flow.
#include "moehill/simulation/exchange.h"

#include <algorithm>

#include "moehill/base/partition.h"
#include "moehill/simulation/cluster.h"

namespace moehill {
namespace {

// The flows of whole nodes leave from this many devices of a node.
constexpr int kLanesPerNode = 2;
// Up to this many nodes a group is one node. With more nodes, flows between single nodes stand in each
// other's way on the links between switches more than their messages do.
constexpr int kMostSingleNodes = 32;

// Returns the sums over units of `unit` devices, [units, units]. The diagonal is not used.
ByteMatrix sums_of_units(const ByteMatrix& bytes, int unit) {
  ByteMatrix sums(ceil_div(bytes.num_devices(), unit));
  for (int from = 0; from < bytes.num_devices(); ++from) {
    for (int to = 0; to < bytes.num_devices(); ++to) sums.at(from / unit, to / unit) += bytes.at(from, to);
  }
  return sums;
}

// NodeTurns chooses which node of a group receives the next flow: the node that still lacks the most of the
// bytes that its own messages would bring. So each node's links carry about as much as without groups.
class NodeTurns {
 public:
  NodeTurns(const ByteMatrix& nodes, int of_group) : left_(idx(nodes.num_devices())), of_group_(of_group) {
    for (int from = 0; from < nodes.num_devices(); ++from) {
      for (int to = 0; to < nodes.num_devices(); ++to)
        left_[idx(to)] += from / of_group == to / of_group ? 0 : nodes.at(from, to);
    }
  }
  int take(int group, int64_t bytes) {
    const auto begin = left_.begin() + group * of_group_;
    const auto end = left_.begin() + std::min<int64_t>(std::ssize(left_), (group + 1) * of_group_);
    const auto most = std::max_element(begin, end);
    *most -= bytes;
    return static_cast<int>(most - left_.begin());
  }

 private:
  std::vector<int64_t> left_;  // [nodes]
  const int of_group_;
};

// Planner makes the flows of one exchange.
class Planner {
 public:
  Planner(const ByteMatrix& bytes, const Grouping& grouping, int messages)
      : bytes_(bytes), grouping_(grouping), messages_(messages) {
    exchange_.sends.resize(idx(num()));
    exchange_.own.resize(idx(num()));
    exchange_.num_received.resize(idx(grouping.num_groups(num())));
  }

  Exchange make() {
    count();
    if (grouping_.size == 1) {
      // If each flow is one message, no correction by own messages is needed, so `own` stays empty.
      if (messages_ == 1) exchange_.own.clear();
      // This is the pairwise order: in round i each device sends to the device i places further on, so no
      // device receives two messages at once.
      for (int d = 0; d < num(); ++d) {
        for (int i = 1; i < num(); ++i) add(d, (d + i) % num(), bytes_.at(d, (d + i) % num()));
      }
    } else {
      add_groups();
    }
    return std::move(exchange_);
  }

 private:
  int num() const { return bytes_.num_devices(); }
  int per_node() const { return grouping_.devices_per_node; }

  // The sums and own messages come from the single messages, not from the flows, so groups do not change
  // them.
  void count() {
    std::vector<int64_t> received(idx(num())), out(idx(ceil_div(num(), per_node()))), in(out.size());
    ExchangeSums& sums = exchange_.sums;
    for (int from = 0; from < num(); ++from) {
      OwnMessages& own = exchange_.own[idx(from)];
      const int node = from / per_node();
      for (int to = 0; to < num(); ++to) {
        const int64_t n = from == to ? 0 : bytes_.at(from, to);
        if (n == 0) continue;
        received[idx(to)] += n;
        const bool is_inside = to / per_node() == node;
        (is_inside ? own.inside : own.across) += messages_;
        (is_inside ? own.inside_bytes : own.across_bytes) += n;
        if (!is_inside) in[idx(to / per_node())] += n;
      }
      out[idx(node)] += own.across_bytes;
      sums.network += own.across_bytes;
      sums.total += own.across_bytes + own.inside_bytes;
      sums.fullest_device = std::max(sums.fullest_device, own.across_bytes + own.inside_bytes);
    }
    sums.fullest_device = std::max(sums.fullest_device, *std::max_element(received.begin(), received.end()));
    sums.fullest_node =
        std::max(*std::max_element(out.begin(), out.end()), *std::max_element(in.begin(), in.end()));
  }

  void add(int from, int to, int64_t bytes) {
    if (bytes <= 0) return;
    exchange_.sends[idx(from)].push_back({to, bytes});
    ++exchange_.num_received[idx(to / grouping_.size)];
  }

  // Returns one of a few devices of a node in turn. A few flows at a time fill a node's connection, and a
  // flow that waits for a busy link holds up only the flows of its own device.
  int member(int node, int turn) const {
    const int begin = node * per_node(), end = std::min(num(), begin + per_node());
    const int stride = std::max(1, per_node() / kLanesPerNode);
    return begin + turn % std::max(1, (end - begin) / stride) * stride;
  }

  void add_groups() {
    for (int d = 0; d < num(); ++d) {
      const int first = d / per_node() * per_node(), end = std::min(num(), first + per_node());
      // All messages inside of a node become one flow to the neighbour, which shares the same loopback.
      add(d, d + 1 < end ? d + 1 : first, exchange_.own[idx(d)].inside_bytes);
    }
    const ByteMatrix nodes = sums_of_units(bytes_, per_node());
    const int num_nodes = nodes.num_devices(), of_group = grouping_.size / per_node();
    // These are the flows from node to node within a group, in pairwise order.
    for (int round = 1; round < of_group; ++round) {
      for (int a = 0; a < num_nodes; ++a) {
        const int b = a / of_group * of_group + (a + round) % of_group;
        if (b < num_nodes) add(member(a, round), member(b, round), nodes.at(a, b));
      }
    }
    NodeTurns receivers(nodes, of_group);
    const int num_groups = ceil_div(num_nodes, of_group);
    // These are the flows from each node to each other group: one flow each, which the group's nodes receive
    // in turn.
    for (int round = 1; round < num_groups; ++round) {
      for (int a = 0; a < num_nodes; ++a) {
        const int b = (a / of_group + round) % num_groups;
        int64_t sum = 0;
        for (int to = b * of_group; to < std::min(num_nodes, (b + 1) * of_group); ++to)
          sum += nodes.at(a, to);
        if (sum > 0) add(member(a, round), member(receivers.take(b, sum), round), sum);
      }
    }
  }

  const ByteMatrix& bytes_;
  const Grouping grouping_;
  const int messages_;
  Exchange exchange_;
};

}  // namespace

int64_t ByteMatrix::total() const {
  int64_t sum = 0;
  for (int from = 0; from < num_devices_; ++from) {
    for (int to = 0; to < num_devices_; ++to) sum += from == to ? 0 : at(from, to);
  }
  return sum;
}

Exchange make_exchange(const ByteMatrix& bytes, const Grouping& grouping, int messages) {
  return Planner(bytes, grouping, messages).make();
}

int group_size(int num_devices, int devices_per_node, int exact_devices) {
  if (num_devices <= exact_devices) return 1;
  const int num_nodes = ceil_div(num_devices, devices_per_node);
  int nodes = 1;
  while (num_nodes > kMostSingleNodes && 2 * nodes * nodes < num_nodes) nodes *= 2;
  while (ceil_div(num_nodes, nodes) > exact_devices) nodes *= 2;
  return nodes * devices_per_node;
}

}  // namespace moehill
