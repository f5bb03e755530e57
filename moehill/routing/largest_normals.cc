#include "moehill/routing/largest_normals.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr int kLanes = 8;  // this many blocks at once, so that compilers use vectors

// Makes the two words of blocks [first, first + kLanes), as threefry() of base/rng.h does.
void fill_words(uint32_t seed, Stream stream, uint64_t first, uint32_t* radius, uint32_t* angle) {
  const uint32_t key[3] = {seed, static_cast<uint32_t>(stream),
                           kThreefryParity ^ seed ^ static_cast<uint32_t>(stream)};
  uint32_t x0[kLanes], x1[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t counter = first + static_cast<uint64_t>(i);
    x0[i] = static_cast<uint32_t>(counter) + key[0];
    x1[i] = static_cast<uint32_t>(counter >> 32) + key[1];
  }
  for (int round = 0; round < 20; ++round) {
    const int rotation = kThreefryRotations[round % 8];
    for (int i = 0; i < kLanes; ++i) {
      x0[i] += x1[i];
      x1[i] = (x1[i] << rotation) | (x1[i] >> (32 - rotation));
      x1[i] ^= x0[i];
    }
    if (round % 4 != 3) continue;
    const uint32_t injection = static_cast<uint32_t>(round / 4 + 1);
    for (int i = 0; i < kLanes; ++i) {
      x0[i] += key[injection % 3];
      x1[i] += key[(injection + 1) % 3] + injection;
    }
  }
  std::copy_n(x0, kLanes, radius);
  std::copy_n(x1, kLanes, angle);
}

// Returns the threshold that a normal number exceeds with this probability (0 to 1/2), by bisection.
double normal_quantile(double probability) {
  double low = 0, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) / 2 > probability ? low : high) = middle;
  }
  return low;
}

}  // namespace

// Takes a threshold above which a row is expected to have a few more values than `count`, so that a row
// seldom has too few.
double LargestNormals::usual_least(int num, int count) {
  const double expected = count + 3 * std::sqrt(count);
  return normal_quantile(std::min(0.5, expected / num));
}

LargestNormals::LargestNormals(int num, int count, double margin) : num_(num), count_(count) {
  const double enough = usual_least(num, count);
  MOEHILL_CHECK(margin == 0 || margin < enough, "a margin of {} below {}", margin, enough);
  enough_ = static_cast<float>(enough);
  least_ = static_cast<float>(enough - margin);
  constexpr double kTurn = 6.283185307179586, kMargin = 1024;  // > 2^9: angles drop 9 bits
  for (size_t i = 0; i < farthest_angle_.size(); ++i) {
    // The radius is sqrt(-2 ln u), where u is at least i / 256.
    const double radius = i == 0 ? 6 : std::sqrt(-2 * std::log(static_cast<double>(i) / 256));
    const double turns = least_ >= radius ? 0 : std::acos(static_cast<double>(least_) / radius) / kTurn;
    farthest_angle_[i] = static_cast<uint32_t>(turns * 0x1p32 + kMargin);
  }
  const size_t blocks = static_cast<size_t>((num + kLanes - 1) / kLanes);
  radius_.resize(blocks * kLanes);
  angle_.resize(radius_.size());
}

void LargestNormals::fill(uint32_t seed, Stream stream, uint64_t first, float* row) {
  const size_t num = static_cast<size_t>(num_);
  for (size_t i = 0; i < num; i += kLanes) fill_words(seed, stream, first + i, &radius_[i], &angle_[i]);
  const auto value = [&](size_t i) { return static_cast<float>(random_normal(seed, stream, first + i)); };
  int found = 0;
  for (size_t i = 0; i < num; ++i) {
    // The cosine falls with the distance of the angle from 0, in either direction of the turn.
    const uint32_t from_zero = std::min(angle_[i], 0 - angle_[i]);
    const bool is_small = from_zero > farthest_angle_[radius_[i] >> 24];
    row[i] = is_small ? -std::numeric_limits<float>::infinity() : value(i);
    found += row[i] > enough_;
  }
  if (found >= count_) return;
  for (size_t i = 0; i < num; ++i) row[i] = value(i);
}

}  // namespace moehill
