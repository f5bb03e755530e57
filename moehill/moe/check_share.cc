// This file exchanges the rows, sums of doubles and texts of a check over several processes.
#include "moehill/moe/check_share.h"

#include <algorithm>
#include <cstring>

namespace moehill {
namespace {

// A process sends at most this many bytes of terms to all others at a time, which is little memory beside the
// sums.
constexpr int64_t kPieceBytes = int64_t{8} << 20;

Range piece_of(Range rows, int64_t piece, int64_t piece_rows) {
  const int64_t begin = std::min(rows.end, rows.begin + piece * piece_rows);
  return {begin, std::min(rows.end, begin + piece_rows)};
}

std::string rows_of(const std::vector<SummedRows>& sums, Range rows) {
  std::string message;
  for (const SummedRows& sum : sums) {
    message.append(reinterpret_cast<const char*>(sum.data + rows.begin * sum.cols),
                   static_cast<size_t>(rows.size() * sum.cols) * sizeof(double));
  }
  return message;
}

void add(const std::vector<std::string>& messages, Range rows, const std::vector<SummedRows>& sums) {
  size_t offset = 0;
  for (const SummedRows& sum : sums) {
    double* const to = sum.data + rows.begin * sum.cols;
    const size_t n = static_cast<size_t>(rows.size() * sum.cols);
    std::fill_n(to, n, 0);
    for (const std::string& message : messages) {
      for (size_t i = 0; i < n; ++i) {
        double term;
        std::memcpy(&term, message.data() + offset + i * sizeof(double), sizeof(double));
        to[i] += term;
      }
    }
    offset += n * sizeof(double);
  }
}

}  // namespace

CheckShare CheckShare::whole(const BlockTensors& tensors) {
  return {
      tensors, {{0, tensors.shape.tokens}}, std::vector<int>(static_cast<size_t>(tensors.shape.experts), 0)};
}

void CheckShare::bring_all() const {
  TokensOfProcesses tokens_of(tokens.size());
  for (int64_t t = 0; t < tensors.shape.tokens; ++t) tokens_of[0].push_back(t);
  bring(tokens_of);
}

std::vector<std::string> CheckShare::gather(const std::string& text) const {
  if (peers == nullptr) return {text};
  std::vector<std::string_view> messages(static_cast<size_t>(size()));
  messages[0] = text;
  std::vector<std::string> came = peers->exchange(messages);
  if (!is_first()) came.clear();
  return came;
}

void sum_rows(const CheckShare& share, const std::vector<Range>& own, const std::vector<SummedRows>& sums) {
  if (share.peers == nullptr) return;
  // row_bytes is a divisor below, so it begins with 1.
  int64_t row_bytes = 1, most_rows = 0;
  for (const SummedRows& sum : sums) row_bytes += sum.cols * static_cast<int64_t>(sizeof(double));
  for (const Range& rows : own) most_rows = std::max(most_rows, rows.size());
  const int64_t piece_rows = std::max<int64_t>(1, kPieceBytes / (row_bytes * share.size()));
  for (int64_t piece = 0; piece * piece_rows < most_rows; ++piece) {
    std::vector<std::string> terms;
    for (const Range& rows : own) terms.push_back(rows_of(sums, piece_of(rows, piece, piece_rows)));
    const std::vector<std::string> came = share.peers->exchange({terms.begin(), terms.end()});
    add(came, piece_of(own[static_cast<size_t>(share.rank())], piece, piece_rows), sums);
  }
}

void sum_values(const CheckShare& share, int rank, const std::vector<std::vector<double>*>& values) {
  for (std::vector<double>* of : values) {
    std::vector<Range> own(share.tokens.size());
    own[static_cast<size_t>(rank)] = {0, std::ssize(*of)};
    sum_rows(share, own, {{of->data(), 1}});
  }
}

std::vector<std::vector<int>> expert_groups(const CheckShare& share, int process,
                                            const std::vector<int64_t>& load) {
  const int64_t enough = (share.tensors.shape.tokens + share.size() - 1) / share.size();
  std::vector<std::vector<int>> groups;
  int64_t rows = enough;
  for (int e = 0; e < static_cast<int>(load.size()); ++e) {
    if (share.owner[static_cast<size_t>(e)] != process) continue;
    if (rows >= enough) {
      groups.emplace_back();
      rows = 0;
    }
    groups.back().push_back(e);
    rows += load[static_cast<size_t>(e)];
  }
  return groups;
}

std::vector<int64_t> tokens_of_experts(const BlockTensors& tensors, const std::vector<int>& experts) {
  const Routing& routing = *tensors.routing;
  std::vector<char> asked(static_cast<size_t>(routing.num_experts) + 1, 0);
  for (const int e : experts) asked[static_cast<size_t>(e)] = 1;
  std::vector<int64_t> tokens;
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    const int64_t token = static_cast<int64_t>(a) / routing.topk;
    if (!tokens.empty() && tokens.back() == token) continue;
    const int32_t expert = routing.expert[a];
    const bool computed = expert >= 0 && (tensors.kept == nullptr || tensors.kept[a] != 0);
    if (computed && asked[static_cast<size_t>(expert)] != 0) tokens.push_back(token);
  }
  return tokens;
}

}  // namespace moehill
