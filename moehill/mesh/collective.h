// This header has the words of the mesh: the kinds of meshes, and the collectives. Options, records, hardware
// files and errors all use these names.
#pragma once

#include "moehill/base/words.h"

namespace moehill {

// MeshKind is the backend that connects the devices. `automatic` stands for `mpi` if a launcher started the
// program as a job, otherwise for `threads`.
enum class MeshKind { automatic, threads, mpi };
constexpr auto words(MeshKind) { return std::array{"auto", "threads", "mpi"}; }

// Collective lists the collectives that the harness measures and models.
enum class Collective { all_reduce, reduce_scatter, all_gather, all_to_all };
constexpr auto words(Collective) {
  return std::array{"all_reduce", "reduce_scatter", "all_gather", "all_to_all"};
}

// CallKind lists the calls that all ranks make together: the collectives (with the same values as in
// Collective) and others. A rank shows its peers at which call it is.
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
// True if the numbers of elements may differ between ranks in this call.
constexpr bool counts_may_differ(CallKind kind) {
  return kind == CallKind::all_to_all || kind == CallKind::counts;
}
static_assert(kind_of(Collective::all_to_all) == CallKind::all_to_all);

}  // namespace moehill
