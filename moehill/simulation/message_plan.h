// MessagePlan: the flows of an exchange, device by device in the order in which they are sent.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/simulation/step_program.h"

namespace moehill {

struct Flow {
  int to = 0;
  int64_t bytes = 0;
};

struct MessagePlan {
  std::vector<std::vector<Flow>> sends;  // [P]
  std::vector<int> num_received;         // [groups] flows
};

// Consecutive devices form groups of `group`, the last one perhaps smaller. Messages between two groups are
// one flow, from and to one of two devices of one of their nodes, which change from partner to partner;
// messages inside a group are a flow each. Pairwise order: d sends to d + 1, d + 2, ... in a circle, inside
// its group and then as its group. What has no bytes is no flow.
MessagePlan plan_messages(const ByteMatrix& bytes, int group, int devices_per_node);

// 1 up to `exact_devices` devices; above that the smallest power of two with at most exact_devices^2 flows
// between groups.
int group_size(int num_devices, int exact_devices);

}  // namespace moehill
