// Implementation of quiet/core_watch.h: bursts of multiply-adds show shared cores, and the system's counters
// show other processes and waits for the CPU quota.
#include "moehill/quiet/core_watch.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {
namespace {

constexpr double kFullSpeed = 0.8;  // share of the best burst; two threads on one core reach a half
constexpr double kPause_s = 0.05;   // between two attempts
// Learning ends after this time, even if all cores together never reach the speed of one core alone times the
// number of cores.
constexpr double kLearn_s = 2;

void pause() { std::this_thread::sleep_for(std::chrono::duration<double>(kPause_s)); }

}  // namespace

CoreWatch::CoreWatch(const std::vector<int>& cpus, double patience_s)
    : team_(static_cast<int>(cpus.size()), cpus), left_s_(patience_s) {
  // One core alone gives the speed to hope for: while only one virtual CPU works, no other shares its core.
  ThreadTeam first(1, {cpus.front()});
  const double one = measure_pinned(first, measure_fma_peak);
  const Look begin = look();
  // Processors that clock lower when all cores work never reach that speed. This costs kLearn_s once.
  while (burst() < kFullSpeed * one * team_.size() && seconds_since(begin) < kLearn_s) pause();
}

CoreWatch::Look CoreWatch::look() { return {machine_times(), process_cpu_seconds()}; }

double CoreWatch::seconds_since(const Look& before) { return seconds() - before.machine.clock; }

bool CoreWatch::left_alone(const Look& before) {
  const Look now = look();
  return moehill::left_alone(before.machine, now.machine, now.own_s - before.own_s);
}

double CoreWatch::burst() {
  const double flops = measure_pinned(team_, measure_fma_burst);
  best_ = std::max(best_, flops);
  return flops;
}

// Bursts are short and may be unlucky, so a slow one has a second chance.
bool CoreWatch::at_full_speed() { return burst() >= kFullSpeed * best_ || burst() >= kFullSpeed * best_; }

void CoreWatch::wait_for_cores() {
  while (!alone_ && spend(kPause_s)) {
    const Look before = look();
    pause();
    alone_ = left_alone(before);
  }
  while (!at_full_speed() && spend(kPause_s)) pause();
}

bool CoreWatch::spend(double seconds) {
  if (left_s_ <= 0) return false;
  left_s_ -= seconds;
  return true;
}

}  // namespace moehill
