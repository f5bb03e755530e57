#include "moehill/mesh/mpi/messages.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "moehill/base/hash.h"
#include "moehill/mesh/errors.h"

namespace moehill {
namespace {

// Calls piece(begin, bytes) for each; once if there is nothing.
template <typename Piece>
void for_each_piece(size_t bytes, size_t piece_bytes, const Piece& piece) {
  size_t begin = 0;
  do {
    const size_t length = std::min(piece_bytes, bytes - begin);
    piece(begin, length);
    begin += length;
  } while (begin < bytes);
}

int error_class(int code) {
  int found = MPI_ERR_UNKNOWN;
  return MPI_Error_class(code, &found) == MPI_SUCCESS ? found : MPI_ERR_UNKNOWN;
}

// Leaves the list empty however the scope ends.
template <typename T>
struct Emptied {
  std::vector<T>& list;
  ~Emptied() { list.clear(); }
};

// One waits for the receiver's go-ahead while the other moves.
constexpr int kFirstLimit = 2;

}  // namespace

void Messages::send(const void* from, size_t bytes, int to) {
  for_each_piece(bytes, piece_bytes_, [&](size_t begin, size_t length) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi("MPI_Isend", MPI_Isend(static_cast<const char*>(from) + begin, static_cast<int>(length),
                                     MPI_BYTE, to, tag_, comm_, &request));
    requests_.push_back(request);
    expected_.push_back({to, false, length});
  });
}

void Messages::receive(void* to, size_t bytes, int from) {
  for_each_piece(bytes, piece_bytes_, [&](size_t begin, size_t length) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi("MPI_Irecv", MPI_Irecv(static_cast<char*>(to) + begin, static_cast<int>(length), MPI_BYTE, from,
                                     tag_, comm_, &request));
    requests_.push_back(request);
    expected_.push_back({from, true, length});
  });
}

// Statuses and errors are left to finish(), which MPI_Test would take them from.
bool Messages::are_done() {
  for (; num_done_ < requests_.size(); ++num_done_) {
    int done = 0;
    const int code = MPI_Request_get_status(requests_[num_done_], &done, MPI_STATUS_IGNORE);
    if (code == MPI_SUCCESS && done == 0) return false;
  }
  return true;
}

// One by one: MPI_Waitall returns at the first bad message and leaves others pending, which would write into
// memory that the caller gives back after the exception.
void Messages::finish(const char* collective) {
  statuses_.resize(requests_.size());
  codes_.resize(requests_.size());
  for (size_t i = 0; i < requests_.size(); ++i) codes_[i] = MPI_Wait(&requests_[i], &statuses_[i]);
  requests_.clear();
  num_done_ = 0;
  const Emptied nothing_expected{expected_};
  for (size_t i = 0; i < expected_.size(); ++i) check(collective, expected_[i], statuses_[i], codes_[i]);
}

void Messages::abandon(const std::function<bool(int)>& agrees) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (agrees(expected_[i].rank)) {
      (void)MPI_Wait(&requests_[i], MPI_STATUS_IGNORE);
    } else {
      abandon_request(requests_[i], expected_[i].is_receive);
    }
  }
  requests_.clear();
  num_done_ = 0;
  expected_.clear();
}

void Messages::check(const char* collective, const Expected& expected, const MPI_Status& status, int code) {
  const bool too_long = code != MPI_SUCCESS && error_class(code) == MPI_ERR_TRUNCATE;
  if (!too_long) check_mpi("MPI_Wait", code);
  if (!expected.is_receive) return;
  int bytes = 0;
  check_mpi("MPI_Get_count", MPI_Get_count(&status, MPI_BYTE, &bytes));
  if (!too_long && static_cast<size_t>(bytes) == expected.bytes) return;
  throw CollectiveError(fmt::format("{}: rank {} sent {} bytes where {} were expected", collective,
                                    expected.rank, too_long ? "more" : std::to_string(bytes),
                                    expected.bytes));
}

// The header stands in front of the offsets, which follow it.
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
  uint64_t hash = kFnvStart;
  for (size_t i = 0; i < used; ++i) {
    const char byte = i < sizeof own ? reinterpret_cast<const char*>(&own)[i] : header(0)[i];
    hash = fnv1a(hash, static_cast<unsigned char>(byte));
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

// Call it after a failure elsewhere: nothing may be written to this memory any more.
void CallHeaders::drop() {
  for (size_t i = 0; i < requests_.size(); ++i) abandon_request(requests_[i], i < others_.size());
}

TripMessages::Place TripMessages::place(const void* rows, std::span<const int64_t> cuts, int rank,
                                        int part) const {
  const size_t i =
      static_cast<size_t>(rank) * static_cast<size_t>(trip_.num_parts + 1) + static_cast<size_t>(part);
  if (cuts[i] == cuts[i + 1]) return {nullptr, 0};
  char* const start = static_cast<char*>(const_cast<void*>(rows));
  return {start + static_cast<size_t>(cuts[i]) * trip_.row_bytes,
          static_cast<size_t>(cuts[i + 1] - cuts[i]) * trip_.row_bytes};
}

void TripMessages::start(const RoundTrip& trip, int tag) {
  trip_ = trip;
  const int num_parts = trip.num_parts;
  for (std::vector<Messages>* all : {&coming_, &going_}) {
    all->resize(2 * static_cast<size_t>(num_parts), Messages(comm_, piece_bytes_));
    for (Messages& messages : *all) messages.use_tag(tag);
  }
  for (int i = 0; i < 2 * num_parts; ++i) {
    for (const int rank : others_) {
      const Place in = i < num_parts ? place(trip.received, trip.received_cuts, rank, i)
                                     : place(trip.answered, trip.answered_cuts, rank, i - num_parts);
      coming_[static_cast<size_t>(i)].receive(in.begin, in.bytes, rank);
    }
  }
  num_posted_ = num_gone_ = 0;
  num_ready_ = num_parts;
  limit_ = kFirstLimit;
  advance();
}

void TripMessages::post(int send) {
  for (const int rank : others_) {
    const Place out = send < trip_.num_parts
                          ? place(trip_.sent, trip_.sent_cuts, rank, send)
                          : place(trip_.answer, trip_.answer_cuts, rank, send - trip_.num_parts);
    going_[static_cast<size_t>(send)].send(out.begin, out.bytes, rank);
  }
}

// If every posted send finished before this call, the link was idle; the limit on sends in flight grows.
void TripMessages::advance() {
  if (num_posted_ == num_ready_) return;
  while (num_gone_ < num_posted_ && going_[static_cast<size_t>(num_gone_)].are_done()) ++num_gone_;
  if (num_posted_ > 0 && num_gone_ == num_posted_) limit_ = std::min(2 * limit_, 2 * trip_.num_parts);
  while (num_posted_ < num_ready_ && num_posted_ - num_gone_ < limit_) post(num_posted_++);
}

void TripMessages::answer(int part) {
  num_ready_ = trip_.num_parts + part + 1;
  advance();
}

bool TripMessages::has_landed(int part) {
  for (int i = 0; i <= part; ++i) {
    if (!coming_[static_cast<size_t>(i)].are_done()) return false;
  }
  return true;
}

template <typename Condition>
void TripMessages::advance_until(const Condition& condition) {
  while (!condition()) {
    advance();
    (void)sched_yield();
  }
}

void TripMessages::await(int part) {
  advance_until([&] { return has_landed(part); });
  for (int i = 0; i <= part; ++i) coming_[static_cast<size_t>(i)].finish("round_trip");
}

void TripMessages::finish() {
  advance_until([&] { return num_posted_ == 2 * trip_.num_parts; });
  for (Messages& messages : going_) messages.finish("round_trip");
  for (Messages& messages : coming_) messages.finish("round_trip");
  num_ready_ = num_posted_ = num_gone_ = 0;
}

void TripMessages::abandon() {
  for (std::vector<Messages>* all : {&coming_, &going_}) {
    for (Messages& messages : *all) messages.abandon();
  }
  num_ready_ = num_posted_ = num_gone_ = 0;
}

}  // namespace moehill
