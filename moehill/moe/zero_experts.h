// ZeroExperts computes the choices of "zero experts" (LongCat). A zero expert has no weights: its choice adds
// the token itself, times its gate value, on the device that has the token. It has no row in a plan and no
// product, and it sends nothing. For a token x whose choices of this kind have the gate values p with the sum
// g:
//
//   y += g x, dx += g dy, and dp = <dy, x> for each such choice.
//
//   ZeroExperts zero(max_tokens);
//   zero.take(routing, tokens, team);
//   zero.add(team, x, 1, y, y);                 // y += g x
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

  // Takes the choices of these tokens, to which the other calls then apply. Allocates nothing.
  void take(const Routing& routing, Range tokens, ThreadTeam& team);

  // Computes out = base + scale g rows; all are [tokens, H]. base (no data: zero) may be `out`.
  void add(ThreadTeam& team, const MatView& rows, float scale, const MatView& base, const MatView& out);
  // Writes dp [tokens, k] of these choices, scale <x, dy>; the other entries stay as they are.
  void make_dp(ThreadTeam& team, const MatView& x, const MatView& dy, float scale, float* dp);

  void spoil(const MemoryVisitor& visit);

 private:
  const Routing* routing_ = nullptr;
  Range tokens_{};
  std::vector<int32_t> row_;               // [tokens] its own number, or -1 without such a choice
  std::vector<float> gate_, scaled_, dp_;  // [tokens] g, g times `scale`, and <x, dy>
};

}  // namespace moehill
