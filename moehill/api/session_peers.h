// The processes of a job as those of a check.
#pragma once

#include <functional>
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
  // Returns on the first process what `next` makes of what the process before it made, beginning with
  // `first` on the first one. Collective.
  uint64_t pass_through(uint64_t first, const std::function<uint64_t(uint64_t)>& next);

 private:
  Session& session_;
};

}  // namespace moehill
