// The processes of a job as those of a check.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "moehill/mesh/session.h"
#include "moehill/moe/check_share.h"

namespace moehill {

class SessionPeers final : public CheckPeers {
 public:
  explicit SessionPeers(Session& session) : session_(session) {}
  int rank() const override { return session_.rank(); }
  int size() const override { return session_.size(); }
  std::vector<std::string> exchange(const std::vector<std::string_view>& messages) override {
    return session_.exchange(messages);
  }

  // Process r has bytes_of[r] of `whole`; each ends with all of them. Collective.
  void bring_together(void* whole, const std::vector<Range>& bytes_of);

 private:
  Session& session_;
};

// Tensors that several processes bring together for a check. Nobody needs them after it.
struct Brought {
  explicit Brought(Session& session) : peers(session) {}
  // `m` with the rows of all processes, of which each has those of its tokens. Without data there is nothing.
  // Collective.
  MatView whole(const MatView& m, const std::vector<Range>& tokens);

  SessionPeers peers;
  std::deque<Matrix> rows;    // [all tokens, ...]
  std::vector<float> logits;  // [T, L]
};

}  // namespace moehill
