// Zero experts: choices that are no experts. Such a choice adds the token itself, times its gate value, on
// the device that has the token: it has no row of a plan, no product, and nothing of it travels.
//
//   y += g x, dx += g dy, and dp = <dy, x> for each such choice; g is the sum of a token's gate values of
//   them.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/machine/thread_team.h"
#include "moehill/routing/plan.h"
#include "moehill/tensor/matrix.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

class ZeroExperts {
 public:
  explicit ZeroExperts(int64_t max_tokens);

  // Takes the choices of these tokens, whose rows the other calls are about. Allocates nothing.
  void take(const Routing& routing, Range tokens, ThreadTeam& team);

  // out = base + scale g rows; all [tokens, H]. base (no data: zero) may be `out` itself.
  void add(ThreadTeam& team, const MatView& rows, float scale, const MatView& base, const MatView& out);
  // dp [tokens, k] of these choices is scale <x, dy>; the others' stay what they are.
  void make_dp(ThreadTeam& team, const MatView& x, const MatView& dy, float scale, float* dp);

  void spoil(const MemoryVisitor& visit);

 private:
  const Routing* routing_ = nullptr;
  Range tokens_{};
  std::vector<int32_t> row_;               // [tokens] its number, or -1 without such a choice
  std::vector<float> gate_, scaled_, dp_;  // [tokens] g, that times `scale`, <x, dy>
};

}  // namespace moehill
