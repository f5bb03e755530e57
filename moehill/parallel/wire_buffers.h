// WireBuffers: the rows of an exchange that go to and come from other nodes, in the form of the config's
// wire.
#pragma once

#include <span>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/kernels/wire_rows.h"
#include "moehill/mesh/group.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// Returns [T, k] with 1 for assignments to experts on other nodes than their tokens. Experts are where the
// config places them. Returns nothing if the wire is native.
std::vector<uint8_t> far_assignments(const RunConfig& config, const Routing& placed, const Nodes& nodes);

class WireBuffers {
 public:
  // group: of all devices. max_*: the most rows of a step.
  WireBuffers(const RunConfig& config, const Group& group, int64_t max_sent, int64_t max_received);

  // Gathers the rows for each device [rows sent]. Those for the own node go to `sent`, the others to where
  // far() points. Without a wire all of them go to `sent`.
  void pack(ThreadTeam& team, const RowSource& source, std::span<const int64_t> send_offsets,
            const MatView& sent);
  FarRows far() const;
  // Decodes the rows that have arrived from other nodes and writes them to the same rows of `received`.
  // rows_of(r) are those of rank r.
  template <typename RowsOf>
  void unpack(ThreadTeam& team, const RowsOf& rows_of, const MatView& received) {
    if (row_bytes_ == 0) return;
    ranges_.clear();
    for (int r = 0; r < static_cast<int>(is_far_.size()); ++r) {
      if (is_far_[static_cast<size_t>(r)]) ranges_.push_back(rows_of(r));
    }
    decode_rows(team, wire_, received_.data(), ranges_, received);
  }
  void spoil(const MemoryVisitor& visit, int64_t num_sent, int64_t num_received) const;

 private:
  Wire wire_;
  size_t row_bytes_ = 0;       // 0: the wire is native, and there are no rows here
  std::vector<bool> is_far_;   // [ranks] on another node
  Buffer sent_, received_;     // rows in the form of the wire
  std::vector<Range> ranges_;  // work space, so that a step allocates nothing
};

}  // namespace moehill
