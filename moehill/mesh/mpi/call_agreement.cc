// Implements call_agreement.h: hashes of calls, sums of counts, and the exchange of digests between leaders.
#include "moehill/mesh/mpi/call_agreement.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>

#include "moehill/base/hash.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr int kDigestTag = kFirstRowsTag + kNumRowsTags;  // the largest tag that every MPI has

uint64_t mixed(std::initializer_list<int64_t> values) {
  uint64_t hash = kFnvStart;
  for (const int64_t value : values) {
    for (int byte = 0; byte < 8; ++byte) hash = fnv1a(hash, static_cast<unsigned char>(value >> (8 * byte)));
  }
  return hash;
}

uint64_t hash_of(const Call& call) {
  uint64_t hash =
      mixed({static_cast<int64_t>(call.kind), static_cast<int64_t>(call.input_dtype),
             static_cast<int64_t>(call.output_dtype), call.n, static_cast<int64_t>(call.element_bytes)});
  if (counts_may_differ(call.kind)) return hash;
  for (const int64_t offset : call.offsets) hash = mixed({static_cast<int64_t>(hash), offset});
  return hash;
}

int64_t count_at(std::span<const int64_t> offsets, size_t i) { return offsets[i + 1] - offsets[i]; }

// The sender and the receiver of rows make the same number from the same count, so that the two cancel in the
// sum over all ranks.
uint64_t counted(int part, int64_t from, int64_t to, int64_t count) {
  return count == 0 ? 0 : mixed({part, from, to, count});
}

static_assert(sizeof(CallDigest) == kAgreementBytes);

}  // namespace

void CallDigest::add(const CallDigest& other) {
  lowest = std::min(lowest, other.lowest);
  highest = std::max(highest, other.highest);
  difference += other.difference;
}

CallDigest digest_of(const Call& call) {
  const uint64_t hash = hash_of(call);
  CallDigest digest{hash, hash, 0};
  if (call.kind != CallKind::all_to_all || call.receive_offsets.empty()) return digest;
  for (size_t r = 0; r + 1 < call.offsets.size(); ++r) {
    const int64_t other = static_cast<int64_t>(r);
    digest.difference += counted(0, call.rank, other, count_at(call.offsets, r));
    digest.difference -= counted(0, other, call.rank, count_at(call.receive_offsets, r));
  }
  return digest;
}

CallDigest digest_of(const Call& call, const RoundTrip& trip) {
  CallDigest digest = digest_of(call);
  const size_t parts = static_cast<size_t>(trip.num_parts);
  for (size_t r = 0; r + 1 < trip.send_offsets.size(); ++r) {
    const int64_t other = static_cast<int64_t>(r);
    for (size_t p = 0; p < parts; ++p) {
      const size_t i = r * (parts + 1) + p;
      const int there = 1 + static_cast<int>(p), back = there + trip.num_parts;
      digest.difference += counted(there, call.rank, other, count_at(trip.sent_cuts, i));
      digest.difference -= counted(there, other, call.rank, count_at(trip.received_cuts, i));
      digest.difference += counted(back, call.rank, other, count_at(trip.answer_cuts, i));
      digest.difference -= counted(back, other, call.rank, count_at(trip.answered_cuts, i));
    }
  }
  return digest;
}

int tag_of(const CallDigest& digest) {
  return kFirstRowsTag + static_cast<int>(digest.lowest % kNumRowsTags);
}

CallAgreement::CallAgreement(MPI_Comm comm, std::vector<int> leaders, int own, MessageCount& sent)
    : comm_(comm),
      steps_(agreement_steps(static_cast<int>(leaders.size()), own)),
      leaders_(std::move(leaders)),
      sent_(sent) {}

bool CallAgreement::agree(CallDigest own) {
  for (const AgreementStep& step : steps_) {
    // A node past the largest power of two receives only once: the result of all nodes, its own included.
    if (step.send_to >= 0) send(own, step.send_to);
    if (step.receive_from < 0) continue;
    const CallDigest told = receive(step.receive_from);
    if (step.send_to < 0 && &step != &steps_.front()) return told.agrees();
    own.add(told);
  }
  return own.agrees();
}

// The message is so short that no library waits for the receiver, so a plain MPI_Send does not block.
void CallAgreement::send(const CallDigest& digest, int to) {
  check_mpi("MPI_Send", MPI_Send(&digest, sizeof digest, MPI_BYTE, leader(to), kDigestTag, comm_));
  ++sent_.messages;
  sent_.bytes += sizeof digest;
}

CallDigest CallAgreement::receive(int from) {
  CallDigest digest;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Irecv",
            MPI_Irecv(&digest, sizeof digest, MPI_BYTE, leader(from), kDigestTag, comm_, &request));
  Patience patience("a collective");
  for (;;) {
    int done = 0;
    check_mpi("MPI_Test", MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done != 0) return digest;
    if (patience.is_over()) {
      abandon_request(request, true);
      patience.give_up(fmt::format("{}, or one that it waits for", rank_name(leader(from))));
    }
    (void)sched_yield();
  }
}

}  // namespace moehill
