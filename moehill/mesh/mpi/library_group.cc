#include "moehill/mesh/mpi/library_group.h"

#include <limits>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/group.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

int as_int(int64_t count) {
  if (count <= std::numeric_limits<int>::max()) return static_cast<int>(count);
  throw CollectiveError("the library's own collective counts in int: choose a smaller size");
}

void require_f32(DType input, DType output) {
  if (input == DType::f32 && output == DType::f32) return;
  throw CollectiveError("the library's own collective sums f32 alone");
}

}  // namespace

LibraryGroup::LibraryGroup(MPI_Comm comm, ThreadTeam& team)
    : comm_(Communicator::duplicate_of(comm)), team_(team), rank_(comm_.rank()), size_(comm_.size()) {
  for (std::vector<int>* v : {&send_counts_, &send_places_, &receive_counts_, &receive_places_})
    v->resize(static_cast<size_t>(size_));
}

void LibraryGroup::barrier() {
  const WatchedCall call("MPI_Barrier");
  check_mpi("MPI_Barrier", MPI_Barrier(comm_.get()));
}

void LibraryGroup::set_counts(std::span<const int64_t> offsets, size_t unit, std::vector<int>& counts,
                              std::vector<int>& places) const {
  const int64_t bytes = static_cast<int64_t>(unit);
  for (size_t r = 0; r < counts.size(); ++r) {
    counts[r] = as_int((offsets[r + 1] - offsets[r]) * bytes);
    places[r] = as_int(offsets[r] * bytes);
  }
}

void LibraryGroup::all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                              int64_t n) {
  require_f32(input_dtype, output_dtype);
  const WatchedCall call("MPI_Allreduce");
  check_mpi("MPI_Allreduce", MPI_Allreduce(input == output ? MPI_IN_PLACE : input, output, as_int(n),
                                           MPI_FLOAT, MPI_SUM, comm_.get()));
}

void LibraryGroup::reduce_slices(const Started& call) {
  require_f32(call.input_dtype, call.output_dtype);
  set_counts(call.send_offsets, 1, receive_counts_, receive_places_);
  check_mpi("MPI_Reduce_scatter", MPI_Reduce_scatter(call.input, call.output, receive_counts_.data(),
                                                     MPI_FLOAT, MPI_SUM, comm_.get()));
}

void LibraryGroup::finish() {
  const Started call = take_started();
  const WatchedCall watched("a collective of the MPI library");
  if (call.kind == Collective::reduce_scatter) return reduce_slices(call);
  set_counts(call.receive_offsets, call.element_bytes, receive_counts_, receive_places_);
  if (call.kind == Collective::all_gather) {
    check_mpi("MPI_Allgatherv",
              MPI_Allgatherv(call.input, receive_counts_[static_cast<size_t>(rank_)], MPI_BYTE, call.output,
                             receive_counts_.data(), receive_places_.data(), MPI_BYTE, comm_.get()));
    return;
  }
  set_counts(call.send_offsets, call.element_bytes, send_counts_, send_places_);
  check_mpi("MPI_Alltoallv",
            MPI_Alltoallv(call.input, send_counts_.data(), send_places_.data(), MPI_BYTE, call.output,
                          receive_counts_.data(), receive_places_.data(), MPI_BYTE, comm_.get()));
}

std::shared_ptr<void> LibraryGroup::exchange_memory(size_t bytes) { return make_exchange_buffer(bytes); }

}  // namespace moehill
