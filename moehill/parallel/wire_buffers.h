// WireBuffers hold the rows of an exchange that go to and come from other nodes, in the type that the
// config's wire has (for example fp8 with a scale). Rows inside of a node keep their type. The encoding
// itself is in kernels/wire_rows.h.
//
//     wire.pack(team, {x, sent_token}, send_offsets, sent);   // near rows to `sent`, far ones encoded
//     group.start_round_trip({..., .far = wire.far()});
//     wire.unpack(team, rows_of_rank, received);              // decodes what came from other nodes
#pragma once

#include <span>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/kernels/wire_rows.h"
#include "moehill/mesh/group.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// Returns [T, k] with 1 for assignments to experts on other nodes than their tokens. `placed` names places of
// the config. Returns nothing if the wire is native.
std::vector<uint8_t> far_assignments(const RunConfig& config, const Routing& placed, const Nodes& nodes);

// One object for each device and direction of rows.
class WireBuffers {
 public:
  // `group` has all devices. max_sent and max_received are the most rows of a step.
  WireBuffers(const RunConfig& config, const Group& group, int64_t max_sent, int64_t max_received);

  // Gathers the rows for each device [rows sent]. Rows for the own node go to `sent`, the others to the
  // memory of far(). If the wire is native all rows go to `sent`.
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
  std::vector<bool> is_far_;   // [ranks] true if on another node
  Buffer sent_, received_;     // rows as they travel
  std::vector<Range> ranges_;  // work space, so that a step allocates nothing
};

}  // namespace moehill
