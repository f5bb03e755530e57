// Tests copies and sums that are so large that they bypass the caches.
#include <gtest/gtest.h>

#include <vector>

#include "moehill/machine/past_caches.h"
#include "moehill/mesh/jobs.h"

namespace moehill {
namespace {

// The number is odd, so that shares and segments begin anywhere.
constexpr int64_t kN = kPastCachesBytes / 8 + 12345;

std::vector<float> numbers(int64_t n, int salt) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = static_cast<float>((i * 7 + salt) % 1021);
  return values;
}

TEST(LargeJobs, CopyPutsSegmentsInTheirPlaces) {
  ThreadTeam team(3);
  const std::vector<float> a = numbers(kN / 3, 1), b = numbers(kN - kN / 3, 2);
  std::vector<float> out(static_cast<size_t>(kN));
  const std::vector<const void*> sources = {a.data(), b.data()};
  const std::vector<int64_t> offsets = {0, kN / 3, kN};
  team_copy(team, {sources, offsets, sizeof(float), out.data()});
  EXPECT_TRUE(std::equal(a.begin(), a.end(), out.begin()));
  EXPECT_TRUE(std::equal(b.begin(), b.end(), out.begin() + kN / 3));
}

TEST(LargeJobs, SumWritesAllOutputs) {
  ThreadTeam team(2);
  const std::vector<float> a = numbers(kN, 1), b = numbers(kN, 2);
  std::vector<float> first = numbers(kN, 3), second(static_cast<size_t>(kN));
  const std::vector<const void*> inputs = {a.data(), b.data(), first.data()};  // the first output in place
  const std::vector<void*> outputs = {first.data(), second.data()};
  std::vector<float> expected(first);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += a[i] + b[i];
  team_sum(team, {inputs, DType::f32, 0, outputs, DType::f32, 0, kN});
  EXPECT_EQ(first, expected);
  EXPECT_EQ(second, expected);
}

}  // namespace
}  // namespace moehill
