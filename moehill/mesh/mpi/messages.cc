#include "moehill/mesh/mpi/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

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

}  // namespace moehill
