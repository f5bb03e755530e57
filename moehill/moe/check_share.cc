#include "moehill/moe/check_share.h"

#include <algorithm>
#include <cstring>

namespace moehill {
namespace {

// A message of a sum: what is under way takes little beside the sums.
constexpr int64_t kPieceBytes = int64_t{1} << 20;

Range piece_of(Range rows, int64_t piece, int64_t piece_rows) {
  const int64_t begin = std::min(rows.end, rows.begin + piece * piece_rows);
  return {begin, std::min(rows.end, begin + piece_rows)};
}

template <typename T>
std::string rows_of(const std::vector<SummedRows<T>>& sums, Range rows) {
  std::string message;
  for (const SummedRows<T>& sum : sums) {
    message.append(reinterpret_cast<const char*>(sum.data + rows.begin * sum.cols),
                   static_cast<size_t>(rows.size() * sum.cols) * sizeof(T));
  }
  return message;
}

template <typename T>
void add(const std::vector<std::string>& messages, Range rows, const std::vector<SummedRows<T>>& sums) {
  size_t offset = 0;
  for (const SummedRows<T>& sum : sums) {
    T* const to = sum.data + rows.begin * sum.cols;
    const size_t n = static_cast<size_t>(rows.size() * sum.cols);
    std::fill_n(to, n, T{0});
    for (const std::string& message : messages) {
      for (size_t i = 0; i < n; ++i) {
        T term;
        std::memcpy(&term, message.data() + offset + i * sizeof(T), sizeof(T));
        to[i] += term;
      }
    }
    offset += n * sizeof(T);
  }
}

}  // namespace

CheckShare CheckShare::whole(const BlockTensors& tensors) {
  return {
      tensors, {{0, tensors.shape.tokens}}, std::vector<int>(static_cast<size_t>(tensors.shape.experts), 0)};
}

std::vector<std::string> CheckShare::gather(const std::string& text) const {
  if (peers == nullptr) return {text};
  std::vector<std::string_view> messages(static_cast<size_t>(size()));
  messages[0] = text;
  std::vector<std::string> came = peers->exchange(messages);
  if (!is_first()) came.clear();
  return came;
}

template <typename T>
void sum_rows(const CheckShare& share, const std::vector<Range>& own,
              const std::vector<SummedRows<T>>& sums) {
  if (share.peers == nullptr) return;
  int64_t row_bytes = 1, most_rows = 0;
  for (const SummedRows<T>& sum : sums) row_bytes += sum.cols * static_cast<int64_t>(sizeof(T));
  for (const Range& rows : own) most_rows = std::max(most_rows, rows.size());
  const int64_t piece_rows = std::max<int64_t>(1, kPieceBytes / row_bytes);
  for (int64_t piece = 0; piece * piece_rows < most_rows; ++piece) {
    std::vector<std::string> terms;
    for (const Range& rows : own) terms.push_back(rows_of(sums, piece_of(rows, piece, piece_rows)));
    const std::vector<std::string> came = share.peers->exchange({terms.begin(), terms.end()});
    add(came, piece_of(own[static_cast<size_t>(share.rank())], piece, piece_rows), sums);
  }
}

template void sum_rows(const CheckShare&, const std::vector<Range>&, const std::vector<SummedRows<float>>&);
template void sum_rows(const CheckShare&, const std::vector<Range>&, const std::vector<SummedRows<double>>&);

}  // namespace moehill
