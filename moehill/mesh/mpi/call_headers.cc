#include "moehill/mesh/mpi/call_headers.h"

#include <algorithm>
#include <cstring>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/mpi/message_tags.h"

namespace moehill {

// In front of the offsets, which follow it.
struct CallHeaders::Header {
  int32_t kind, input_dtype, output_dtype, rank;
  int64_t n, element_bytes, num_offsets;
};

CallHeaders::CallHeaders(MPI_Comm comm, std::vector<int> others, int num_ranks)
    : comm_(comm),
      others_(std::move(others)),
      num_offsets_(static_cast<size_t>(num_ranks) + 1),
      header_bytes_(sizeof(Header) + num_offsets_ * sizeof(int64_t)),
      memory_((others_.size() + 1) * header_bytes_),
      requests_(2 * others_.size(), MPI_REQUEST_NULL),
      calls_(others_.size() + 1) {}

// The counts of an all_to_all differ between ranks by right; its messages tell whether they fit.
void CallHeaders::write(const Call& call) {
  const bool tells_offsets = call.kind != CallKind::all_to_all;
  const size_t num_offsets = tells_offsets ? call.offsets.size() : 0;
  const Header own{static_cast<int32_t>(call.kind),
                   static_cast<int32_t>(call.input_dtype),
                   static_cast<int32_t>(call.output_dtype),
                   call.rank,
                   call.n,
                   static_cast<int64_t>(call.element_bytes),
                   static_cast<int64_t>(num_offsets)};
  std::memcpy(header(0), &own, sizeof own);
  if (num_offsets > 0)
    std::memcpy(header(0) + sizeof own, call.offsets.data(), num_offsets * sizeof(int64_t));
}

Call CallHeaders::read(size_t i) {
  Header told;
  std::memcpy(&told, header(i), sizeof told);
  Call call{.kind = static_cast<CallKind>(told.kind),
            .input_dtype = static_cast<DType>(told.input_dtype),
            .output_dtype = static_cast<DType>(told.output_dtype),
            .rank = told.rank,
            .n = told.n,
            .element_bytes = static_cast<size_t>(told.element_bytes)};
  const auto* const offsets = reinterpret_cast<const int64_t*>(header(i) + sizeof told);
  call.offsets = {offsets, static_cast<size_t>(told.num_offsets)};
  return call;
}

// FNV-1a of all but the rank.
int CallHeaders::tag() {
  Header own;
  std::memcpy(&own, header(0), sizeof own);
  own.rank = 0;
  const size_t used = sizeof own + static_cast<size_t>(own.num_offsets) * sizeof(int64_t);
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < used; ++i) {
    const char byte = i < sizeof own ? reinterpret_cast<const char*>(&own)[i] : header(0)[i];
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  }
  return kFirstRowsTag + static_cast<int>(hash % kNumRowsTags);
}

int CallHeaders::post(const Call& call) {
  drop();
  if (others_.empty()) return kFirstRowsTag;
  write(call);
  const int bytes = static_cast<int>(header_bytes_);
  for (size_t i = 0; i < others_.size(); ++i) {
    check_mpi("MPI_Irecv",
              MPI_Irecv(header(i + 1), bytes, MPI_BYTE, others_[i], kHeaderTag, comm_, &requests_[i]));
  }
  for (size_t i = 0; i < others_.size(); ++i) {
    check_mpi("MPI_Isend", MPI_Isend(header(0), bytes, MPI_BYTE, others_[i], kHeaderTag, comm_,
                                     &requests_[others_.size() + i]));
  }
  return tag();
}

void CallHeaders::check() {
  if (others_.empty()) return;
  check_mpi("MPI_Waitall",
            MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE));
  for (size_t i = 0; i < calls_.size(); ++i) calls_[i] = read(i);
  const std::string disagreement = find_disagreement(calls_, 0);
  if (!disagreement.empty()) throw CollectiveError(disagreement);
}

bool CallHeaders::agrees(int rank) const {
  const auto other =
      std::find_if(calls_.begin() + 1, calls_.end(), [&](const Call& c) { return c.rank == rank; });
  if (other == calls_.end()) return true;
  const Call pair[] = {calls_[0], *other};
  return find_disagreement(pair, 0).empty();
}

// After a failure elsewhere: nothing may be written to this memory any more.
void CallHeaders::drop() {
  for (size_t i = 0; i < requests_.size(); ++i) abandon_request(requests_[i], i < others_.size());
}

}  // namespace moehill
