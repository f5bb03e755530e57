// BroughtRows holds the rows of x and y that a process has for a check: the rows of its own tokens, and rows
// of other processes' tokens while the check needs them. It makes x from the seed, so that the check finds a
// process that has wrong rows of x. It fetches y from the process that computed it.
//
//     BroughtRows rows(session, source);
//     rows.bring(tokens_of_processes);   // collective; each process names the tokens that it wants
//     rows.y().row<float>(t);            // this row is here now, even if another process computed it
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "moehill/api/session_peers.h"
#include "moehill/machine/sparse_memory.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

class BroughtRows final : public CheckRows {
 public:
  struct Source {
    std::vector<Range> tokens;  // [processes] the tokens whose rows of y each process has
    MatView y;                  // [T, H] without gaps, with memory for these rows
    bool has_all_y = false;     // each process has all rows
    uint32_t seed = 0;          // seed of x
    bool others = false;        // x has other tokens (parallel/other_operands.h)
    std::function<void(const std::function<void(ThreadTeam&)>&)> on_team;
  };
  BroughtRows(Session& session, Source source);
  void bring(const TokensOfProcesses& tokens_of) override;

  SessionPeers& peers() { return peers_; }
  MatView x() const { return view(x_); }
  MatView y() const { return source_.has_all_y ? source_.y : view(y_); }

 private:
  MatView view(const SparseMemory& rows) const;
  Range own() const { return source_.tokens[static_cast<size_t>(peers_.rank())]; }
  // Returns the tokens that process `to` asks for and process `from` has.
  std::span<const int64_t> between(const TokensOfProcesses& tokens_of, int from, int to) const;
  void drop(SparseMemory& rows) const;
  void make_x(std::span<const int64_t> tokens);
  void fetch_y(const TokensOfProcesses& tokens_of);
  char* y_row(int64_t token) const { return y_.data() + token * row_bytes_; }

  SessionPeers peers_;
  const Source source_;
  const int64_t row_bytes_;
  SparseMemory x_, y_;  // [T, H]
};

}  // namespace moehill
