// Implementation of simulation/collective_form.h. A reduce_scatter is the transposed gather: the same
// messages in the other direction and in reverse order.
#include "moehill/simulation/collective_form.h"

#include <algorithm>
#include <numeric>

#include "moehill/base/partition.h"

namespace moehill {
namespace {

ByteMatrix transposed(const ByteMatrix& bytes) {
  ByteMatrix other(bytes.num_devices());
  for (int from = 0; from < bytes.num_devices(); ++from) {
    for (int to = 0; to < bytes.num_devices(); ++to) other.at(to, from) = bytes.at(from, to);
  }
  return other;
}

ByteMatrix to_all(const std::vector<int64_t>& slices) {
  const int num = static_cast<int>(slices.size());
  ByteMatrix bytes(num);
  for (int from = 0; from < num; ++from) {
    for (int to = 0; to < num; ++to) bytes.at(from, to) = from == to ? 0 : slices[idx(from)];
  }
  return bytes;
}

// Along a ring each device passes on all slices except the next device's own.
ByteMatrix around_ring(const std::vector<int64_t>& slices) {
  const int num = static_cast<int>(slices.size());
  const int64_t all = std::accumulate(slices.begin(), slices.end(), int64_t{0});
  ByteMatrix bytes(num);
  for (int d = 0; num > 1 && d < num; ++d) bytes.at(d, (d + 1) % num) = all - slices[idx((d + 1) % num)];
  return bytes;
}

// Before step s a device has 2^s slices: its own and the slices of the devices before it. It sends them to
// the device 2^s places further on, which lacks them. In the last step that device may lack only some of
// them.
ByteMatrix along_trees(const std::vector<int64_t>& slices, int step) {
  const int num = static_cast<int>(slices.size()), way = 1 << step;
  ByteMatrix bytes(num);
  for (int d = 0; d < num; ++d) {
    for (int i = 0; i < std::min(way, num - way); ++i)
      bytes.at(d, (d + way) % num) += slices[idx((d - i + num) % num)];
  }
  return bytes;
}

// Each slice goes to one device of every other node: the device that has the same place there.
ByteMatrix across_nodes(const std::vector<int64_t>& slices, const Nodes& nodes) {
  const int num = static_cast<int>(slices.size());
  ByteMatrix bytes(num);
  for (int d = 0; d < num; ++d) {
    for (int node = 0; node < nodes.num(); ++node) {
      if (node != nodes.of(d)) bytes.at(d, nodes.landing_rank(d, node)) += slices[idx(d)];
    }
  }
  return bytes;
}

// Slices of other nodes go on from the device at which they landed.
ByteMatrix inside_nodes(const std::vector<int64_t>& slices, const Nodes& nodes) {
  const int num = static_cast<int>(slices.size());
  std::vector<int64_t> landed = slices;
  const ByteMatrix across = across_nodes(slices, nodes);
  ByteMatrix bytes(num);
  for (int d = 0; d < num; ++d) {
    for (int from = 0; from < num; ++from) landed[idx(d)] += across.at(from, d);
    for (const int other : nodes.ranks_of(nodes.of(d)))
      if (other != d) bytes.at(d, other) = landed[idx(d)];
  }
  return bytes;
}

}  // namespace

int CollectiveSteps::num_tree_steps() const {
  int steps = 0;
  while ((1 << steps) < num_devices_) ++steps;
  return steps;
}

int CollectiveSteps::num_gather_steps() const {
  if (form_ == CollectiveForm::tree) return num_tree_steps();
  return form_ == CollectiveForm::two_level ? 2 : 1;
}

int CollectiveSteps::num_pair_steps() const { return form_ == CollectiveForm::ring ? 1 : num_gather_steps(); }

ByteMatrix CollectiveSteps::gather_step(const std::vector<int64_t>& slices, int step) const {
  switch (form_) {
    case CollectiveForm::direct:
      return to_all(slices);
    case CollectiveForm::ring:
      return around_ring(slices);
    case CollectiveForm::tree:
      return along_trees(slices, step);
    case CollectiveForm::two_level:
      return step == 0 ? across_nodes(slices, nodes_) : inside_nodes(slices, nodes_);
  }
  return to_all(slices);
}

ByteMatrix CollectiveSteps::scatter_step(const std::vector<int64_t>& slices, int step) const {
  return transposed(gather_step(slices, num_gather_steps() - 1 - step));
}

ByteMatrix CollectiveSteps::pair_step(const ByteMatrix& pairs, int step) const {
  if (form_ == CollectiveForm::direct || form_ == CollectiveForm::ring) return pairs;
  ByteMatrix bytes(num_devices_);
  for (int from = 0; from < num_devices_; ++from) {
    for (int to = 0; to < num_devices_; ++to) {
      if (form_ == CollectiveForm::tree) {
        // On a tree a message moves by the binary digits of its distance; this step is the digit `on`.
        const int way = (to - from + num_devices_) % num_devices_, on = 1 << step;
        const int at = (from + (way & (on - 1))) % num_devices_;
        if ((way & on) != 0) bytes.at(at, (at + on) % num_devices_) += pairs.at(from, to);
        continue;
      }
      // With two levels a message first goes to the device of its own node that has the same place as the
      // receiver. The second step crosses the network from there.
      const bool stays = nodes_.of(from) == nodes_.of(to);
      const int relay = stays ? to : nodes_.landing_rank(to, nodes_.of(from));
      if (step == 0 && relay != from) bytes.at(from, relay) += pairs.at(from, to);
      if (step == 1 && !stays) bytes.at(relay, to) += pairs.at(from, to);
    }
  }
  return bytes;
}

}  // namespace moehill
