// Words of the mesh: where its devices live and what they do together, as options, records, hardware files
// and errors name it.
#pragma once

#include "moehill/base/words.h"

namespace moehill {

enum class MeshKind { automatic, threads, mpi };
constexpr auto words(MeshKind) { return std::array{"auto", "threads", "mpi"}; }

enum class Collective { all_reduce, reduce_scatter, all_gather, all_to_all };
constexpr auto words(Collective) {
  return std::array{"all_reduce", "reduce_scatter", "all_gather", "all_to_all"};
}

// A rank may be in one of these calls when its peers meet it: a collective (with the value that it has in
// Collective), or a call beside them.
enum class CallKind {
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all,
  barrier,
  exchange_memory,
  common_memory,
  finished,
  counts,
};
constexpr auto words(CallKind) {
  constexpr auto first = words(Collective::all_reduce);
  return std::array{first[0],  first[1],          first[2],        first[3],
                    "barrier", "exchange_memory", "common_memory", "the end of its program",
                    "counts"};
}
constexpr CallKind kind_of(Collective collective) { return static_cast<CallKind>(collective); }
// Numbers of elements differ between ranks by right in these.
constexpr bool counts_may_differ(CallKind kind) {
  return kind == CallKind::all_to_all || kind == CallKind::counts;
}
static_assert(kind_of(Collective::all_to_all) == CallKind::all_to_all);

}  // namespace moehill
