// Exchange: what devices send each other at once, as flows, device by device in the order in which they are
// sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moehill {

// Bytes from device to device, [P, P]; the diagonal is nothing that travels.
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

struct Flow {
  int to = 0;
  int64_t bytes = 0;
};

// One device's messages, one after the other: within its node, and to others.
struct OwnMessages {
  int64_t inside = 0, inside_bytes = 0;
  int64_t across = 0, across_bytes = 0;
};

// Bytes of an exchange: of all devices; of these between nodes; of the device, and the node's network, that
// sends or receives the most.
struct ExchangeSums {
  int64_t total = 0, network = 0;
  int64_t fullest_device = 0, fullest_node = 0;
};

struct Exchange {
  std::vector<std::vector<Flow>> sends;  // [P]
  std::vector<int> num_received;         // [groups] flows
  std::vector<OwnMessages> own;          // [P]; empty where each message is a flow
  ExchangeSums sums;
};

// Consecutive devices form groups: each one alone, or whole nodes, the last of which may be smaller.
struct Grouping {
  int size = 1;  // devices of a group
  int devices_per_node = 1;
  int num_groups(int num_devices) const { return (num_devices + size - 1) / size; }
};

// One by one: a flow for each message, in pairwise order: d sends to d + 1, d + 2, ... in a circle.
//
// In groups: all that a device sends within its node is one flow; all that goes from one node to another of
// its group is one, and so is all from a node to another group. Flows leave from one of two devices of the
// node, which change from partner to partner. In another group they go to the node that lacks most of what
// its own messages have.
//
// What has no bytes is no flow. `messages`: of each pair, one after the other.
Exchange make_exchange(const ByteMatrix& bytes, const Grouping& grouping, int messages = 1);

// 1 up to `exact_devices` devices; above that the least number of whole nodes, doubled again and again, with
// at most so many groups.
int group_size(int num_devices, int devices_per_node, int exact_devices);

}  // namespace moehill
