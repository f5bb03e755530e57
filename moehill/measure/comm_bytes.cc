// Implementation of measure/comm_bytes.h: lower bounds of the bytes that a routing must move, and the lines
// that show what was moved.
#include "moehill/measure/comm_bytes.h"

#include <fmt/format.h>

#include "moehill/base/partition.h"

namespace moehill {
namespace {

// Returns the owner of each of n things that lie in contiguous shares.
std::vector<int> owners(int64_t n, int num_devices) {
  std::vector<int> owner(n);
  for (int device = 0; device < num_devices; ++device) {
    const Range range = share(n, device, num_devices);
    for (int64_t i = range.begin; i < range.end; ++i) owner[i] = device;
  }
  return owner;
}

}  // namespace

int64_t comm_lower_bound_bytes(const BlockTensors& tensors, const Routing& routing, Pass pass,
                               int num_devices) {
  const std::vector<int> token_owner = owners(routing.num_tokens, num_devices);
  const std::vector<int> expert_owner = owners(routing.num_experts, num_devices);
  std::vector<int64_t> last_token(num_devices, -1);
  int64_t num_rows = 0;
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      // A token's row is counted once for each device, even if several of its experts are there.
      const bool kept = tensors.kept == nullptr || tensors.kept[a] != 0;
      if (!kept) continue;
      const int device = expert_owner[routing.expert[a]];
      if (device == token_owner[t] || last_token[device] == t) continue;
      last_token[device] = t;
      ++num_rows;
    }
  }
  // Each row goes out and a result comes back; the backward pass does both again with gradients.
  const int64_t row_bytes =
      tensors.shape.expert_hidden() * static_cast<int64_t>(dtype_bytes(tensors.shape.dtype));
  return num_rows * row_bytes * 2 * (pass == Pass::forward ? 1 : 2);
}

// Counts the bytes as if each row were sent by itself, split into bytes within nodes and between nodes.
// Between nodes the row goes out in the wire's form, and its sum comes back as it is stored.
LevelBytes logical_row_bytes(const RunConfig& config, const PlanCounts& counts, const Nodes& nodes) {
  const MoeShape& shape = config.shape;
  const int64_t passes = config.block.pass == Pass::forward ? 1 : 2,
                stored = wire_row_bytes(Wire::native, shape.expert_hidden(), shape.dtype),
                wired = wire_row_bytes(config.wire, shape.expert_hidden(), shape.dtype);
  LevelBytes bytes;
  for (int from = 0; from < counts.num_devices; ++from) {
    for (int to = 0; to < counts.num_devices; ++to) {
      if (from == to) continue;
      const int64_t rows = passes * counts.pair_rows(from, to);
      if (nodes.of(from) == nodes.of(to)) {
        bytes.node += rows * 2 * stored;
      } else {
        bytes.network += rows * (wired + stored);
      }
    }
  }
  return bytes;
}

std::string level_line(const std::string& label, const std::vector<Traffic>& traffic, const Nodes& nodes,
                       const LevelBytes& logical) {
  if (nodes.num() == 1) return "";
  double sent = 0, network = 0;
  for (const Traffic& t : traffic) {
    sent += static_cast<double>(t.sent_bytes);
    network += static_cast<double>(t.network_bytes);
  }
  return fmt::format(
      "{}: on {} nodes; sent a step: {:.3f} MB inside of nodes, {:.3f} MB between them; rows one by one "
      "would be "
      "{:.3f} and {:.3f} MB\n",
      label, nodes.num(), (sent - network) / 1e6, network / 1e6, static_cast<double>(logical.node) / 1e6,
      static_cast<double>(logical.network) / 1e6);
}

std::string flight_line(const std::vector<Traffic>& traffic) {
  int64_t calls = 0;
  double flight = 0;
  for (const Traffic& t : traffic) {
    calls += t.progress_calls;
    flight += t.flight_seconds;
  }
  if (calls == 0) return "";
  return fmt::format("  messages in flight {:.2f} ms a device, moved on every {:.3f} ms\n",
                     1e3 * flight / static_cast<double>(traffic.size()),
                     1e3 * flight / static_cast<double>(calls));
}

int64_t data_parallel_lower_bound_bytes(const MoeShape& shape, Pass pass, int num_devices) {
  if (pass == Pass::forward) return 0;
  // An all-reduce of W bytes over P devices must send at least 2 (P - 1) W bytes in all.
  return 2 * (num_devices - 1) * shape.weights() * static_cast<int64_t>(dtype_bytes(shape.dtype));
}

}  // namespace moehill
