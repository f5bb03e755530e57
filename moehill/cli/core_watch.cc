#include "moehill/cli/core_watch.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "moehill/cli/yardstick.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"

namespace moehill {
namespace {

constexpr double kFullSpeed = 0.8;  // of the best burst; two threads on one core reach a half
constexpr double kPause_s = 0.05;   // between looks for the cores
constexpr double kLearn_s = 2;      // at most, until all cores together do about what one does alone

void pause() { std::this_thread::sleep_for(std::chrono::duration<double>(kPause_s)); }

}  // namespace

CoreWatch::CoreWatch(const std::vector<int>& cpus, double patience_s)
    : team_(static_cast<int>(cpus.size()), cpus), left_s_(patience_s) {
  ThreadTeam first(1, {cpus.front()});
  const double one = measure_pinned(first, measure_fma_peak);
  const double begin = now();
  // Processors that clock lower with all cores at work never get there, which costs these seconds once.
  while (burst() < kFullSpeed * one * team_.size() && now() - begin < kLearn_s) pause();
}

double CoreWatch::now() { return seconds(); }

double CoreWatch::burst() {
  const double flops = measure_pinned(team_, measure_fma_burst);
  best_ = std::max(best_, flops);
  return flops;
}

// A second look, since bursts are short.
bool CoreWatch::at_full_speed() { return burst() >= kFullSpeed * best_ || burst() >= kFullSpeed * best_; }

void CoreWatch::wait_for_cores() {
  while (!at_full_speed() && spend(kPause_s)) pause();
}

bool CoreWatch::spend(double seconds) {
  if (left_s_ <= 0) return false;
  left_s_ -= seconds;
  return true;
}

}  // namespace moehill
