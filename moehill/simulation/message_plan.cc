#include "moehill/simulation/message_plan.h"

#include <algorithm>

namespace moehill {
namespace {

constexpr int kLanesPerNode = 2;

class Planner {
 public:
  Planner(const ByteMatrix& bytes, int group, int devices_per_node)
      : bytes_(bytes), group_(group), devices_per_node_(devices_per_node) {
    plan_.sends.resize(static_cast<size_t>(num()));
    plan_.num_received.resize(static_cast<size_t>((num() + group_ - 1) / group_));
  }

  MessagePlan make() {
    for (int d = 0; d < num(); ++d) send_inside(d);
    const int num_groups = (num() + group_ - 1) / group_;
    for (int round = 1; round < num_groups; ++round) {
      for (int g = 0; g < num_groups; ++g) send_between(g, (g + round) % num_groups, round);
    }
    return std::move(plan_);
  }

 private:
  int num() const { return bytes_.num_devices(); }
  int begin_of(int g) const { return g * group_; }
  int end_of(int g) const { return std::min(num(), (g + 1) * group_); }

  void add(int from, int to, int64_t bytes) {
    if (bytes <= 0) return;
    plan_.sends[static_cast<size_t>(from)].push_back({to, bytes});
    ++plan_.num_received[static_cast<size_t>(to / group_)];
  }

  void send_inside(int d) {
    const int first = begin_of(d / group_), size = end_of(d / group_) - first;
    for (int i = 1; i < size; ++i) {
      const int to = first + (d - first + i) % size;
      add(d, to, bytes_.at(d, to));
    }
  }

  // Some devices of each node in turn: a few flows at a time fill a node's connection, and one that waits for
  // a busy link holds up only a part of the others.
  int member(int g, int round) const {
    const int stride = std::max(1, devices_per_node_ / kLanesPerNode);
    const int num_lanes = std::max(1, (end_of(g) - begin_of(g)) / stride);
    return begin_of(g) + round % num_lanes * stride;
  }

  void send_between(int a, int b, int round) {
    int64_t sum = 0;
    for (int from = begin_of(a); from < end_of(a); ++from) {
      for (int to = begin_of(b); to < end_of(b); ++to) sum += bytes_.at(from, to);
    }
    add(member(a, round), member(b, round), sum);
  }

  const ByteMatrix& bytes_;
  const int group_, devices_per_node_;
  MessagePlan plan_;
};

}  // namespace

MessagePlan plan_messages(const ByteMatrix& bytes, int group, int devices_per_node) {
  return Planner(bytes, group, devices_per_node).make();
}

int group_size(int num_devices, int exact_devices) {
  if (num_devices <= exact_devices) return 1;
  int group = 2;
  while ((num_devices + group - 1) / group > exact_devices) group *= 2;
  return group;
}

}  // namespace moehill
