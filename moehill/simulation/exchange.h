// Exchange is what devices send each other at the same time: a list of flows for each device, in the order in
// which the device sends them. It knows bytes, and no tokens or times.
//
//     ByteMatrix bytes(num_devices);
//     bytes.at(0, 1) = 1 << 20;                                     // device 0 sends 1 MiB to device 1
//     const Exchange exchange = make_exchange(bytes, {.size = 1, .devices_per_node = 8});
//     exchange.sends[0];                                            // {{.to = 1, .bytes = 1048576}}
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moehill {

// ByteMatrix holds the bytes from device to device, [P, P]. Those of the diagonal do not travel.
class ByteMatrix {
 public:
  explicit ByteMatrix(int num_devices)
      : num_devices_(num_devices),
        bytes_(static_cast<size_t>(num_devices) * static_cast<size_t>(num_devices)) {}
  int num_devices() const { return num_devices_; }
  int64_t& at(int from, int to) { return bytes_[index(from, to)]; }
  int64_t at(int from, int to) const { return bytes_[index(from, to)]; }
  int64_t total() const;  // without the diagonal

 private:
  size_t index(int from, int to) const {
    return static_cast<size_t>(from) * static_cast<size_t>(num_devices_) + static_cast<size_t>(to);
  }
  int num_devices_;
  std::vector<int64_t> bytes_;
};

// Flow is what one device sends as one transfer of the simulator.
struct Flow {
  int to = 0;
  int64_t bytes = 0;
};

// OwnMessages counts the messages that one device sends one after the other: within its node, and to other
// nodes.
struct OwnMessages {
  int64_t inside = 0, inside_bytes = 0;
  int64_t across = 0, across_bytes = 0;
};

// ExchangeSums are bytes of an exchange: of all devices; the part of them between nodes; and the bytes of the
// device, and of the node's network connection, that sends or receives the most.
struct ExchangeSums {
  int64_t total = 0, network = 0;
  int64_t fullest_device = 0, fullest_node = 0;
};

// Exchange is the flows of one exchange with their sums.
struct Exchange {
  std::vector<std::vector<Flow>> sends;  // [P]
  std::vector<int> num_received;         // [groups] flows
  std::vector<OwnMessages> own;          // [P]; empty if each message is a flow
  ExchangeSums sums;
};

// Grouping joins consecutive devices to groups, so that thousands of devices can be simulated. A group is one
// device, or one or several whole nodes; the last group may be smaller.
struct Grouping {
  int size = 1;  // devices in a group
  int devices_per_node = 1;
  int num_groups(int num_devices) const { return (num_devices + size - 1) / size; }
};

// Without groups each message is a flow, in pairwise order: device d sends to d + 1, d + 2, ... in a circle.
//
// With groups there is one flow for all that a device sends within its node, one for all that a node sends to
// another node of its group, and one for all that a node sends to another group. Flows between nodes leave
// from two devices of the node in turn. A flow to another group goes to the node that still lacks the most of
// the bytes that its own messages would bring.
//
// A pair without bytes has no flow. `messages` is how many messages a pair exchanges, one after the other.
Exchange make_exchange(const ByteMatrix& bytes, const Grouping& grouping, int messages = 1);

// Returns 1 for up to `exact_devices` devices, and for more the devices of one node if there are at most 32
// nodes. Otherwise it returns the devices of 2, 4, 8, ... nodes: the smallest size with which a node sends
// about as many flows within its group as to other groups. The sum of both is then the smallest. There are
// never more than `exact_devices` groups.
int group_size(int num_devices, int devices_per_node, int exact_devices);

}  // namespace moehill
