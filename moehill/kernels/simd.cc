// Finds the SIMD targets of this CPU and restricts the kernels to one. Highway chooses among its own targets;
// the two for bf16 are added here on top of AVX3.
#include "moehill/kernels/simd.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <atomic>
#include <cctype>

#include "moehill/base/error.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// Highway does not have these two targets. They are AVX3 with other tiles for bf16.
constexpr const char *kAmxTarget = "AMX_BF16", *kDotTarget = "AVX512_BF16";

// This many bf16 tiles, from the best one on, must not be used. The number holds for the whole process, like
// Highway's own choice.
std::atomic<int> num_left_out{0};

}  // namespace

PairTiles pair_tiles() {
  if ((hwy::SupportedTargets() & HWY_TARGETS & HWY_AVX3) == 0) return {};
  const int left_out = num_left_out.load();
  return {left_out < 1 ? amx_tile() : nullptr, left_out < 2 ? avx512_dot_tile() : nullptr};
}

std::vector<std::string> simd_targets() {
  std::vector<std::string> names;
  const PairTiles tiles = pair_tiles();
  if (tiles.amx != nullptr) names.push_back(kAmxTarget);
  if (tiles.dot != nullptr) names.push_back(kDotTarget);
  // In Highway, better targets have lower bits.
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    names.push_back(upper(hwy::TargetName(left & -left)));
  }
  return names;
}

std::string simd_target() { return simd_targets().front(); }

// The first call must come before any restriction, because afterwards Highway answers with the restriction.
// The function keeps its first answer.
int64_t cpu_simd_targets() {
  static const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets;
}

// Uses the function that Highway offers for tests: in Highway 1.0.3, SupportedTargets() forgets what
// DisableTargets() was told.
void select_simd_target(const std::string& name) {
  cpu_simd_targets();
  hwy::SetSupportedTargetsForTest(0);
  num_left_out.store(0);
  if (name.empty()) return;
  const std::vector<std::string> names = simd_targets();
  const auto is_named = [&](const std::string& target) {
    return target == upper(name) || instruction_words(target) == upper(name);
  };
  const auto found = std::find_if(names.begin(), names.end(), is_named);
  if (found == names.end()) {
    std::vector<std::string> shown;
    for (const std::string& target : names) shown.push_back(instruction_words(target));
    throw input_error("SIMD target", name, fmt::format("{}", fmt::join(shown, ", ")),
                      "leave MOEHILL_SIMD unset for the best");
  }
  if (*found == kAmxTarget) return;
  num_left_out.store(*found == kDotTarget ? 1 : 2);
  if (*found == kDotTarget) return;
  int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  while (upper(hwy::TargetName(targets & -targets)) != *found) targets &= targets - 1;
  hwy::SetSupportedTargetsForTest(targets);
}

}  // namespace moehill
