// SessionPeers lets the processes of a job take part in a check. It is the CheckPeers of moe/check_share.h
// over a Session.
//
//     SessionPeers peers(session);
//     peers.bring_together(data, {{0, 100}, {100, 200}});   // rank 0 has the first 100 of 200 bytes
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

  // Before the call, process r has bytes_of[r] of `whole`; after it, each process has all bytes. Collective.
  void bring_together(void* whole, const std::vector<Range>& bytes_of);

 private:
  Session& session_;
};

// Brought holds tensors that several processes bring together for a check. It lives as long as the check.
struct Brought {
  explicit Brought(Session& session) : peers(session) {}
  // Returns `m` with the rows of all processes. Each process has the rows of its `tokens` before the call. A
  // matrix without data is returned as it is. Collective.
  MatView whole(const MatView& m, const std::vector<Range>& tokens);

  SessionPeers peers;
  std::deque<Matrix> rows;    // [all tokens, ...]
  std::vector<float> logits;  // [T, L]
};

}  // namespace moehill
