// Implementation of tune/block_report.h.
#include "moehill/tune/block_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/table.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {
namespace {

constexpr int64_t kFloat = sizeof(float);

std::string kibibytes(int64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) / 1024); }

}  // namespace

std::vector<WorkingSet> working_sets(const BlockSizes& s, const MoeShape& shape, int tile_rows,
                                     const Topology& topology) {
  const int64_t l3 = topology.l3_bytes * std::max(1, topology.num_l3) / std::max(1, topology.num_cores);
  const auto call = [&](int64_t depth) { return depth * (16 + 2 * tile_rows) * kFloat; };
  const int64_t bd1 = std::min(s.bd1, shape.expert_hidden()), bf = std::min(s.bf, shape.mlp_dim);
  const int64_t bd1c = std::min(s.bd1c, bd1), bfc = std::min(s.bfc, bf);
  return {
      {"tile call, up", "bd1c (16 + 2 rows of a tile) 4", call(bd1c), "L1d", topology.l1d_bytes},
      {"tile call, down", "bfc (16 + 2 rows of a tile) 4", call(bfc), "L1d", topology.l1d_bytes},
      {"rows of a call, up", "btc bd1c 4", s.btc * bd1c * kFloat, "L2", topology.l2_bytes},
      {"rows of a call, down", "btc bfc 4", s.btc * bfc * kFloat, "L2", topology.l2_bytes},
      {"tiles of a pass", "bt bd2c 4", s.bt * s.bd2c * kFloat, "L2", topology.l2_bytes},
      {"packed rows, up", "bt bd1 4", s.bt * bd1 * kFloat, "L3 a core", l3},
      {"packed rows, down", "bt bf 4", s.bt * bf * kFloat, "L3 a core", l3},
      {"partial sums, up", "bt min(2 bf, 1024) 4 where H > bd1",
       shape.expert_hidden() > s.bd1 ? s.bt * std::min<int64_t>(2 * s.bf, 1024) * kFloat : 0, "L3 a core",
       l3},
      {"partial sums, down", "bt min(bd2, 1024) 4 where M > bf",
       shape.mlp_dim > s.bf ? s.bt * std::min<int64_t>(s.bd2, 1024) * kFloat : 0, "L3 a core", l3},
  };
}

std::string explain_blocks(const BlockSizes& sizes, const MoeShape& shape, const Topology& topology) {
  std::vector<std::vector<std::string>> rows;
  for (const WorkingSet& set : working_sets(sizes, shape, gmm_tile_rows(), topology)) {
    rows.push_back({set.what, set.formula, kibibytes(set.bytes), set.cache,
                    set.cache_bytes == 0 ? "-" : kibibytes(set.cache_bytes),
                    set.cache_bytes == 0 ? "not known"
                    : set.fits()         ? "yes"
                                         : "no"});
  }
  return fmt::format("blocks {}\nH {}, M {}, {} rows a register tile, on {}\n", to_string(sizes),
                     shape.expert_hidden(), shape.mlp_dim, gmm_tile_rows(), topology.cpu_model) +
         format_table({"working set", "bytes", "KiB", "cache", "KiB there", "fits"}, rows) +
         "A block that does not fit is slow, not wrong. Weight gradients have blocks of their own.\n";
}

}  // namespace moehill
