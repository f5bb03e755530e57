#include "moehill/moe/part_hashes.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/tensor/content_hash.h"

namespace moehill {
namespace {

constexpr size_t kShort = 32;  // bytes

uint64_t hash_part(const char* data, size_t bytes) {
  if (bytes < kShort || std::all_of(data, data + bytes, [](char c) { return (c & 0x7f) == 0; })) return 0;
  ThreadTeam alone(1);
  return content_hash(alone, data, bytes);
}

// Equal parts in memory, each `stride` bytes after the one before.
struct Parts {
  const void* data;
  int64_t num;
  size_t bytes, stride;
};

PartHashes hash_all(const std::string& tensor, const Parts& parts, ThreadTeam& team) {
  PartHashes hashes{tensor, std::vector<uint64_t>(static_cast<size_t>(parts.num))};
  team.parallel_for(parts.num, [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      hashes.hash[i] = hash_part(static_cast<const char*>(parts.data) + i * parts.stride, parts.bytes);
  });
  return hashes;
}

Parts rows_of(const MatView& m) {
  const size_t size = dtype_bytes(m.dtype);
  return {m.data, m.rows, static_cast<size_t>(m.cols) * size, static_cast<size_t>(m.stride) * size};
}

Parts experts_of(const WeightView& stack) {
  const size_t bytes = static_cast<size_t>(stack.group_elements()) * dtype_bytes(stack.dtype);
  return {stack.data, stack.num_groups, bytes, bytes};
}

Parts whole(const float* data, int64_t n) {
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  return {data, 1, bytes, bytes};
}

}  // namespace

std::vector<PartHashes> hash_parts(const BlockTensors& tensors, Pass pass, ThreadTeam& team) {
  const MoeShape& shape = tensors.shape;
  std::vector<PartHashes> all = {hash_all("y", rows_of(tensors.y), team)};
  if (pass == Pass::forward) return all;
  all.push_back(hash_all("dx", rows_of(tensors.dx), team));
  all.push_back(hash_all("dp", whole(tensors.dp, shape.assignments()), team));
  if (tensors.dlogits != nullptr)
    all.push_back(hash_all("dlogits", whole(tensors.dlogits, shape.tokens * shape.experts), team));
  const BlockWeights& g = tensors.gradients;
  const auto add_pair = [&](const std::string& name, const LogicalWeights& first,
                            const LogicalWeights& third) {
    all.push_back(hash_all(name + "1", experts_of(first.stack), team));
    if (third.stack.data != first.stack.data)
      all.push_back(hash_all(name + "3", experts_of(third.stack), team));
  };
  add_pair("dw", g.w1, g.w3);
  all.push_back(hash_all("dw2", experts_of(g.w2.stack), team));
  if (shape.shared_dim == 0) return all;
  add_pair("ds", g.s1, g.s3);
  all.push_back(hash_all("ds2", experts_of(g.s2.stack), team));
  return all;
}

std::string equal_part(const std::vector<PartHashes>& a, const std::vector<PartHashes>& b) {
  for (size_t t = 0; t < a.size(); ++t) {
    for (size_t i = 0; i < a[t].hash.size(); ++i) {
      if (a[t].hash[i] != 0 && a[t].hash[i] == b[t].hash[i])
        return fmt::format("part {} of {} is that of the other tokens", i, a[t].tensor);
    }
  }
  return "";
}

}  // namespace moehill
