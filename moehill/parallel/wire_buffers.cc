// Implementation of parallel/wire_buffers.h.
#include "moehill/parallel/wire_buffers.h"

#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {

std::vector<uint8_t> far_assignments(const RunConfig& config, const Routing& placed, const Nodes& nodes) {
  std::vector<uint8_t> far;
  if (config.wire == Wire::native) return far;
  std::vector<int> device_of;  // [places]
  for (int d = 0; d < config.num_devices; ++d)
    device_of.insert(device_of.end(),
                     static_cast<size_t>(share(config.shape.experts, d, config.num_devices).size()), d);
  far.assign(placed.expert.size(), 0);
  for (int d = 0; d < config.num_devices; ++d) {
    const Range tokens = result_tokens(config, d);
    for (int64_t a = tokens.begin * placed.topk; a < tokens.end * placed.topk; ++a) {
      const int32_t place = placed.expert[static_cast<size_t>(a)];
      if (place == kNoExpert) continue;
      far[static_cast<size_t>(a)] = nodes.of(device_of[static_cast<size_t>(place)]) != nodes.of(d);
    }
  }
  return far;
}

WireBuffers::WireBuffers(const RunConfig& config, const Group& group, int64_t max_sent, int64_t max_received)
    : wire_(config.wire) {
  if (wire_ == Wire::native) return;
  row_bytes_ = static_cast<size_t>(wire_row_bytes(wire_, config.shape.hidden, config.shape.dtype));
  for (int r = 0; r < group.size(); ++r)
    is_far_.push_back(group.nodes().of(r) != group.nodes().of(group.rank()));
  sent_ = Buffer(static_cast<size_t>(max_sent) * row_bytes_);
  received_ = Buffer(static_cast<size_t>(max_received) * row_bytes_);
  ranges_.reserve(is_far_.size());
}

void WireBuffers::pack(ThreadTeam& team, const RowSource& source, std::span<const int64_t> send_offsets,
                       const MatView& sent) {
  if (row_bytes_ == 0) return gather_rows(team, source, sent);
  ranges_.clear();
  const size_t num = is_far_.size();
  // Neighbouring ranks on the same side are taken together, so that few large pieces are encoded.
  for (size_t r = 0, end = 0; r < num; r = end) {
    while (end < num && is_far_[end] == is_far_[r]) ++end;
    const Range rows{send_offsets[r], send_offsets[end]};
    if (is_far_[r]) {
      ranges_.push_back(rows);
    } else {
      gather_rows(team, {source.matrix, source.index + rows.begin}, sent.slice_rows(rows.begin, rows.end));
    }
  }
  encode_rows(team, wire_, source, ranges_, sent_.data());
}

FarRows WireBuffers::far() const {
  if (row_bytes_ == 0) return {};
  return {.row_bytes = row_bytes_, .sent = sent_.data(), .received = received_.data()};
}

void WireBuffers::spoil(const MemoryVisitor& visit, int64_t num_sent, int64_t num_received) const {
  if (row_bytes_ == 0) return;
  if (num_sent > 0) visit(sent_.data(), static_cast<size_t>(num_sent) * row_bytes_);
  if (num_received > 0) visit(received_.data(), static_cast<size_t>(num_received) * row_bytes_);
}

}  // namespace moehill
