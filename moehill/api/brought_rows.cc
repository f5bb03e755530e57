// Implementation of api/brought_rows.h.
#include "moehill/api/brought_rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "moehill/kernels/random_fill.h"
#include "moehill/parallel/other_operands.h"

namespace moehill {
namespace {

// All processes together send at most this many bytes at once, so that the check needs little memory.
constexpr int64_t kPieceBytes = int64_t{8} << 20;

std::span<const int64_t> piece_of(std::span<const int64_t> tokens, size_t first, size_t count) {
  return first >= tokens.size() ? std::span<const int64_t>{}
                                : tokens.subspan(first, std::min(count, tokens.size() - first));
}

}  // namespace

BroughtRows::BroughtRows(Session& session, Source source)
    : peers_(session),
      source_(std::move(source)),
      row_bytes_(source_.y.cols * static_cast<int64_t>(dtype_bytes(source_.y.dtype))),
      x_(source_.y.rows * row_bytes_),
      y_(source_.has_all_y ? 0 : source_.y.rows * row_bytes_) {
  std::vector<int64_t> tokens(static_cast<size_t>(own().size()));
  std::iota(tokens.begin(), tokens.end(), own().begin);
  make_x(tokens);
  if (!source_.has_all_y && !tokens.empty())
    std::memcpy(y_row(own().begin), static_cast<const char*>(source_.y.data) + own().begin * row_bytes_,
                static_cast<size_t>(own().size() * row_bytes_));
}

MatView BroughtRows::view(const SparseMemory& rows) const {
  MatView all = source_.y;
  all.data = rows.data();
  return all;
}

void BroughtRows::bring(const TokensOfProcesses& tokens_of) {
  drop(x_);
  make_x(tokens_of[static_cast<size_t>(peers_.rank())]);
  if (source_.has_all_y) return;
  drop(y_);
  fetch_y(tokens_of);
}

void BroughtRows::drop(SparseMemory& rows) const {
  rows.drop({0, own().begin * row_bytes_});
  rows.drop({own().end * row_bytes_, source_.y.rows * row_bytes_});
}

void BroughtRows::make_x(std::span<const int64_t> tokens) {
  source_.on_team([&](ThreadTeam& team) {
    for (size_t i = 0; i < tokens.size();) {  // runs of neighbours
      const int64_t begin = tokens[i];
      // Tokens that follow each other are filled by one call.
      int64_t end = begin;
      while (i < tokens.size() && tokens[i] == end) ++i, ++end;
      const MatView rows = x().slice_rows(begin, end);
      fill_normal(team, source_.seed, Stream::kX, 1.0f, rows, begin);
      if (source_.others) scale_exactly(team, rows, kOtherTokens);
    }
  });
}

std::span<const int64_t> BroughtRows::between(const TokensOfProcesses& tokens_of, int from, int to) const {
  if (from == to) return {};
  const std::vector<int64_t>& asked = tokens_of[static_cast<size_t>(to)];
  const Range has = source_.tokens[static_cast<size_t>(from)];
  return {std::lower_bound(asked.begin(), asked.end(), has.begin),
          std::lower_bound(asked.begin(), asked.end(), has.end)};
}

void BroughtRows::fetch_y(const TokensOfProcesses& tokens_of) {
  const int size = peers_.size(), rank = peers_.rank();
  // All processes have to take part in each round of the exchange, so the largest part decides how many
  // rounds there are.
  size_t most = 0;
  for (int from = 0; from < size; ++from) {
    for (int to = 0; to < size; ++to) most = std::max(most, between(tokens_of, from, to).size());
  }
  const auto at_once = static_cast<size_t>(std::max<int64_t>(1, kPieceBytes / (size * row_bytes_)));
  for (size_t first = 0; first < most; first += at_once) {
    std::vector<std::string> messages(static_cast<size_t>(size));
    for (int to = 0; to < size; ++to) {
      for (const int64_t t : piece_of(between(tokens_of, rank, to), first, at_once))
        messages[static_cast<size_t>(to)].append(y_row(t), static_cast<size_t>(row_bytes_));
    }
    const std::vector<std::string> came = peers_.exchange({messages.begin(), messages.end()});
    for (int from = 0; from < size; ++from) {
      const char* row = came[static_cast<size_t>(from)].data();
      for (const int64_t t : piece_of(between(tokens_of, from, rank), first, at_once)) {
        std::memcpy(y_row(t), row, static_cast<size_t>(row_bytes_));
        row += row_bytes_;
      }
    }
  }
}

}  // namespace moehill
