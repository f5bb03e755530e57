// Lies about the two-level exchange. They wrap HierarchicalRoute::make, whose result both levels use.
#include <algorithm>

#include "moehill/mesh/group.h"
#include "moehill/parallel/hierarchical_route.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie node_sum_misses_rank("node_sum_misses_rank",
                               "a node's sum for a token leaves out one of its ranks");
const Lie node_left_out("node_left_out", "one node's sum for a token is not added");
const Lie landed_rows_exchanged("landed_rows_exchanged", "two tokens get each other's rows inside of a node");

// Sets the last row number of rows [tokens, devices] to -1, which stands for no row.
void lose_last(const int32_t* rows, int64_t n) {
  while (n > 0 && rows[n - 1] < 0) --n;
  if (n > 0) const_cast<int32_t*>(rows)[n - 1] = -1;
}

}  // namespace

SEAM("_ZN7moehill17HierarchicalRoute4makeERNS_5GroupE", void, make_hierarchical_route, HierarchicalRoute*,
     Group&);

void lying_make_hierarchical_route(HierarchicalRoute* route, Group& group) {
  real_make_hierarchical_route(route, group);
  const RaggedRoute &across = route->across(), &inside = route->inside();
  if (inside.num_sent() > 0 && node_sum_misses_rank.told_by(group.rank()))
    lose_last(inside.row_at_device(), across.num_received() * group.on_node().size());
  if (across.num_sent() > 0 && node_left_out.told_by(group.rank()))
    lose_last(across.row_at_device(), across.own().size() / route->received().topk * group.size());
  if (inside.num_received() > 1 && landed_rows_exchanged.told_by(group.rank())) {
    int32_t* const rows = const_cast<int32_t*>(route->row_of_token());
    std::swap(rows[0], rows[1]);
  }
}

}  // namespace moehill
