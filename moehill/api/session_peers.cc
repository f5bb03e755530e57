// Implementation of api/session_peers.h.
#include "moehill/api/session_peers.h"

#include <algorithm>
#include <cstring>

namespace moehill {
namespace {

// All processes together send at most this many bytes at a time, so that the exchange needs little memory
// beside the whole.
constexpr int64_t kBytesAtOnce = int64_t{8} << 20;

Range piece_of(Range bytes, int64_t first, int64_t length) {
  const int64_t begin = std::min(bytes.end, bytes.begin + first);
  return {begin, std::min(bytes.end, begin + length)};
}

}  // namespace

void SessionPeers::bring_together(void* whole, const std::vector<Range>& bytes_of) {
  char* const data = static_cast<char*>(whole);
  int64_t most = 0;
  for (const Range& bytes : bytes_of) most = std::max(most, bytes.size());
  const int64_t length = std::max<int64_t>(1, kBytesAtOnce / size());
  for (int64_t first = 0; first < most; first += length) {
    const Range own = piece_of(bytes_of[static_cast<size_t>(rank())], first, length);
    std::vector<std::string_view> messages(bytes_of.size(),
                                           {data + own.begin, static_cast<size_t>(own.size())});
    messages[static_cast<size_t>(rank())] = {};
    const std::vector<std::string> came = exchange(messages);
    for (size_t r = 0; r < came.size(); ++r)
      std::copy(came[r].begin(), came[r].end(), data + piece_of(bytes_of[r], first, length).begin);
  }
}

MatView Brought::whole(const MatView& m, const std::vector<Range>& tokens) {
  if (m.data == nullptr) return m;
  const MatView all = rows.emplace_back(Matrix::tight(m.rows, m.cols, m.dtype));
  const int64_t row_bytes = m.cols * static_cast<int64_t>(dtype_bytes(m.dtype));
  std::vector<Range> bytes;
  for (const Range& of : tokens) bytes.push_back({of.begin * row_bytes, of.end * row_bytes});
  const Range own = bytes[static_cast<size_t>(peers.rank())];
  std::memcpy(static_cast<char*>(all.data) + own.begin, static_cast<const char*>(m.data) + own.begin,
              static_cast<size_t>(own.size()));
  peers.bring_together(all.data, bytes);
  return all;
}

}  // namespace moehill
