// WireBuffers hold the rows of an exchange that go to and come from other nodes, in the form of the config's
// wire (for example fp8 with a scale). Rows inside a node keep their type. WireBuffers send nothing, and
// kernels/wire_rows.h encodes and decodes.
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

// Returns [T, k]: 1 for an assignment to an expert on another node than the token's. The expert ids of
// `placed` are places of the config. Returns an empty vector if the wire is native.
std::vector<uint8_t> far_assignments(const RunConfig& config, const Routing& placed, const Nodes& nodes);

// A device's exchange has one WireBuffers, for the rows of x and later for the rows of dy.
class WireBuffers {
 public:
  // `group` has all devices. max_sent and max_received are the most rows of a step.
  WireBuffers(const RunConfig& config, const Group& group, int64_t max_sent, int64_t max_received);

  // Gathers the rows for each device [rows sent]. It writes rows for the own node to `sent`, and encodes rows
  // for other nodes into the memory of far(). If the wire is native, it writes all rows to `sent`.
  void pack(ThreadTeam& team, const RowSource& source, std::span<const int64_t> send_offsets,
            const MatView& sent);
  FarRows far() const;
  // Decodes the rows that have arrived from other nodes and writes them to the same rows of `received`.
  // rows_of(r) is the range of rows from rank r.
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
