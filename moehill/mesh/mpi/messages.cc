// Implements messages.h: pieces of long messages, headers of calls, and the parts of round trips.
#include "moehill/mesh/mpi/messages.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include "moehill/machine/clock.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

// Calls piece(begin, bytes) for each piece; once with 0 bytes if there is nothing.
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

// Empties the list when the scope ends, whether by return or by exception.
template <typename T>
struct Emptied {
  std::vector<T>& list;
  ~Emptied() { list.clear(); }
};

constexpr const char* kDisagreement = "the end of a call that the ranks disagree about";

// With two parts under way, one can wait for the receiver's go-ahead while the other moves.
constexpr int kFirstLimit = 2;

// Returns the seconds that this rank and `other`, which calls it too, take for several exchanges of rows. The
// exchanges follow one another at once, because the go-ahead for a message may have to wait behind the
// message before it.
double seconds_of_exchanges(MPI_Comm comm, int other, size_t piece_bytes) {
  constexpr int kExchanges = 4;
  constexpr size_t kBytes = 512 << 10;
  const std::vector<char> sent(kBytes);
  std::vector<char> received(kBytes);
  Messages messages(comm, piece_bytes);
  messages.send(nullptr, 0, other);
  messages.receive(nullptr, 0, other);
  messages.finish("the trial of messages");  // both begin together
  const double begin = seconds();
  for (int i = 0; i < kExchanges; ++i) {
    messages.receive(received.data(), kBytes, other);
    messages.send(sent.data(), kBytes, other);
    messages.finish("the trial of messages");
  }
  return seconds() - begin;
}

}  // namespace

size_t quickest_piece_bytes(MPI_Comm comm, const std::vector<int>& others) {
  constexpr int kRounds = 3;
  // Short pieces cost an extra copy if the library would otherwise make none. Whole messages may lose time by
  // waiting, which a short trial does not always show. So whole messages must be clearly faster to be chosen.
  constexpr double kMuchFaster = 0.8;
  constexpr size_t kSizes[] = {kLargestPieceBytes, kEagerPieceBytes};
  int rank = 0;
  check_mpi("MPI_Comm_rank", MPI_Comm_rank(comm, &rank));
  int partner = others.empty() ? -1 : others.front();
  check_mpi("MPI_Bcast", MPI_Bcast(&partner, 1, MPI_INT, 0, comm));
  if (partner < 0) return kLargestPieceBytes;
  double best[2] = {};
  for (int round = 0; round < kRounds && (rank == 0 || rank == partner); ++round) {
    for (size_t i = 0; i < std::size(kSizes); ++i) {
      const double took = seconds_of_exchanges(comm, rank == 0 ? partner : 0, kSizes[i]);
      best[i] = round == 0 ? took : std::min(best[i], took);
    }
  }
  int choice = best[0] < kMuchFaster * best[1] ? 0 : 1;
  check_mpi("MPI_Bcast", MPI_Bcast(&choice, 1, MPI_INT, 0, comm));
  return kSizes[choice];
}

void Messages::send(const void* from, size_t bytes, int to) {
  outgoing_.push_back({static_cast<const char*>(from), bytes, to});
  advance(outgoing_.back());
  skip_sent();
}

// Uses MPI_Request_get_status, because MPI_Test would also take the status and the error, which finish()
// still needs.
bool Messages::is_done(size_t request) {
  int done = 0;
  return MPI_Request_get_status(requests_[request], &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
}

// Posts pieces of this message as long as it has fewer than four of them under way.
void Messages::advance(Outgoing& message) {
  while (message.is_left()) {
    if (message.num_flying == message.flying.size()) {
      if (!is_done(message.flying.front())) return;
      std::rotate(message.flying.begin(), message.flying.begin() + 1, message.flying.end());
      --message.num_flying;
    }
    const size_t length = std::min(piece_bytes_, message.bytes);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi("MPI_Isend", MPI_Isend(message.next, static_cast<int>(length), MPI_BYTE, message.rank, tag_,
                                     comm_, &request));
    message.flying[message.num_flying++] = requests_.size();
    message.is_begun = true;
    message.bytes -= length;
    if (message.bytes > 0) message.next += length;
    requests_.push_back(request);
    expected_.push_back({message.rank, false, length});
    if (sent_ != nullptr) ++sent_->messages, sent_->bytes += length;
  }
}

void Messages::advance() {
  for (size_t i = num_sent_; i < outgoing_.size(); ++i) advance(outgoing_[i]);
  skip_sent();
}

void Messages::skip_sent() {
  while (!all_sent() && !outgoing_[num_sent_].is_left()) ++num_sent_;
}

void Messages::send_all(const char* collective) {
  Patience patience(collective);
  for (advance(); !all_sent(); advance()) {
    patience.check(requests_.size(), [this] { return rank_name(outgoing_[num_sent_].rank); });
    (void)sched_yield();
  }
}

// Waits like MPI_Wait, but no longer than the wait limit allows.
int Messages::wait(const char* collective, size_t request, MPI_Status* status) {
  Patience patience(collective);
  for (;;) {
    int done = 0;
    const int code = MPI_Test(&requests_[request], &done, status);
    if (code != MPI_SUCCESS || done != 0) return code;
    patience.check([&] { return rank_name(expected_[request].rank); });
    (void)sched_yield();
  }
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

bool Messages::are_done() {
  advance();
  while (num_done_ < requests_.size() && is_done(num_done_)) ++num_done_;
  return all_sent() && num_done_ == requests_.size();
}

// Waits for each message by itself. MPI_Waitall would return at the first bad message and leave others
// pending, and these would write into memory that the caller frees after the exception.
void Messages::finish(const char* collective) {
  send_all(collective);
  statuses_.resize(requests_.size());
  codes_.resize(requests_.size());
  for (size_t i = 0; i < requests_.size(); ++i) codes_[i] = wait(collective, i, &statuses_[i]);
  requests_.clear();
  outgoing_.clear();
  num_done_ = num_sent_ = 0;
  const Emptied nothing_expected{expected_};
  for (size_t i = 0; i < expected_.size(); ++i) check(collective, expected_[i], statuses_[i], codes_[i]);
}

void Messages::abandon(const std::function<bool(int)>& agrees) {
  num_sent_ = 0;
  std::erase_if(outgoing_, [&](const Outgoing& message) { return !agrees(message.rank); });
  send_all(kDisagreement);
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (agrees(expected_[i].rank)) {
      (void)wait(kDisagreement, i, MPI_STATUS_IGNORE);
    } else {
      abandon_request(requests_[i], expected_[i].is_receive);
    }
  }
  requests_.clear();
  outgoing_.clear();
  num_done_ = num_sent_ = 0;
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

// A header is followed by the offsets of the call.
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

// The header has no counts of an all_to_all, since they may differ between ranks; the messages show whether
// they fit.
void CallHeaders::write(const Call& call) {
  const bool tells_offsets = !counts_may_differ(call.kind);
  const size_t num_offsets = tells_offsets ? call.offsets.size() : 0;
  const Header own{static_cast<int32_t>(call.kind),
                   static_cast<int32_t>(call.input_dtype),
                   static_cast<int32_t>(call.output_dtype),
                   call.rank,
                   call.n,
                   static_cast<int64_t>(call.element_bytes),
                   static_cast<int64_t>(num_offsets)};
  std::memcpy(header(0), &own, sizeof own);
  std::copy_n(call.offsets.begin(), num_offsets, reinterpret_cast<int64_t*>(header(0) + sizeof own));
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

void CallHeaders::post(const Call& call) {
  drop();
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
}

void CallHeaders::check() {
  Patience patience("a collective");
  for (size_t i = 0; i < requests_.size(); ++i) {
    for (int done = 0; done == 0;) {
      check_mpi("MPI_Test", MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE));
      if (done != 0) break;
      patience.check([&] { return rank_name(others_[i % others_.size()]); });
      (void)sched_yield();
    }
  }
  if (others_.empty()) return;
  for (size_t i = 0; i < calls_.size(); ++i) calls_[i] = read(i);
  const std::string disagreement = find_disagreement(calls_, 0);
  if (!disagreement.empty()) throw CollectiveError(disagreement);
}

bool CallHeaders::agrees(int rank) const {
  const auto other =
      std::find_if(calls_.begin(), calls_.end(), [&](const Call& c) { return c.rank == rank; });
  if (other == calls_.end()) return true;
  const Call pair[] = {calls_[0], *other};
  return find_disagreement(pair, 0).empty();
}

// After a failure elsewhere no message may write to this memory any more, so this gives up all pending
// messages.
void CallHeaders::drop() {
  for (size_t i = 0; i < requests_.size(); ++i) abandon_request(requests_[i], i < others_.size());
}

TripMessages::Place TripMessages::place(const void* rows, size_t row_bytes, std::span<const int64_t> cuts,
                                        int rank, int part) const {
  const size_t i =
      static_cast<size_t>(rank) * static_cast<size_t>(trip_.num_parts + 1) + static_cast<size_t>(part);
  if (cuts[i] == cuts[i + 1]) return {nullptr, 0};
  char* const start = static_cast<char*>(const_cast<void*>(rows));
  return {start + static_cast<size_t>(cuts[i]) * row_bytes,
          static_cast<size_t>(cuts[i + 1] - cuts[i]) * row_bytes};
}

TripMessages::Place TripMessages::received(int rank, int part) const {
  const FarRows& far = trip_.far;
  return far.row_bytes > 0 ? place(far.received, far.row_bytes, trip_.received_cuts, rank, part)
                           : place(trip_.received, trip_.row_bytes, trip_.received_cuts, rank, part);
}

TripMessages::Place TripMessages::sent(int rank, int part) const {
  const FarRows& far = trip_.far;
  return far.row_bytes > 0 ? place(far.sent, far.row_bytes, trip_.sent_cuts, rank, part)
                           : place(trip_.sent, trip_.row_bytes, trip_.sent_cuts, rank, part);
}

void TripMessages::start(const RoundTrip& trip, int tag) {
  trip_ = trip;
  const int num_parts = trip.num_parts;
  for (std::vector<Messages>* all : {&coming_, &going_}) {
    all->resize(2 * static_cast<size_t>(num_parts), Messages(comm_, piece_bytes_, sent_));
    for (Messages& messages : *all) messages.use_tag(tag);
  }
  for (int i = 0; i < 2 * num_parts; ++i) {
    for (const int rank : others_) {
      const Place in = i < num_parts
                           ? received(rank, i)
                           : place(trip.answered, trip.row_bytes, trip.answered_cuts, rank, i - num_parts);
      if (in.bytes > 0) coming_[static_cast<size_t>(i)].receive(in.begin, in.bytes, rank);
    }
  }
  num_posted_ = num_gone_ = 0;
  num_ready_ = num_parts;
  limit_ = kFirstLimit;
  advance();
}

void TripMessages::post(int send) {
  for (const int rank : others_) {
    const Place out = send < trip_.num_parts ? sent(rank, send)
                                             : place(trip_.answer, trip_.row_bytes, trip_.answer_cuts, rank,
                                                     send - trip_.num_parts);
    if (out.bytes > 0) going_[static_cast<size_t>(send)].send(out.begin, out.bytes, rank);
  }
}

// If every posted send finished before this call, the link was idle, so the limit on sends in flight is
// doubled.
void TripMessages::advance() {
  if (num_posted_ > 0) going_[static_cast<size_t>(num_posted_) - 1].advance();
  if (num_posted_ == num_ready_) return;
  while (num_gone_ < num_posted_ && going_[static_cast<size_t>(num_gone_)].are_done()) ++num_gone_;
  if (num_posted_ > 0 && num_gone_ == num_posted_) limit_ = std::min(2 * limit_, 2 * trip_.num_parts);
  const auto may_post = [this] {
    return num_posted_ < num_ready_ && num_posted_ - num_gone_ < limit_ &&
           (num_posted_ == 0 || going_[static_cast<size_t>(num_posted_) - 1].all_sent());
  };
  while (may_post()) post(num_posted_++);
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
  Patience patience("round_trip");
  while (!condition()) {
    advance();
    size_t num_done = 0;
    for (const Messages& messages : coming_) num_done += messages.num_done();
    patience.check(num_done + static_cast<size_t>(num_gone_), [this] { return rank_names(others_); });
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
