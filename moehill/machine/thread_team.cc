#include "moehill/machine/thread_team.h"

#include <utility>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"
#include "moehill/machine/spin_wait.h"

namespace moehill {

ThreadTeam::ThreadTeam(int num_threads, std::vector<int> cpus)
    : num_threads_(num_threads), cpus_(std::move(cpus)), num_spins_(num_spins(!cpus_.empty())) {
  MOEHILL_CHECK(num_threads >= 1, "a team of {} threads", num_threads);
  MOEHILL_CHECK(cpus_.empty() || static_cast<int>(cpus_.size()) == num_threads, "{} CPUs for {} threads",
                cpus_.size(), num_threads);
  try {
    for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this, i] { worker(i); });
  } catch (...) {
    stop();  // the threads that did start would otherwise never end, and their joins would wait for ever
    throw;
  }
}

ThreadTeam::~ThreadTeam() { stop(); }

void ThreadTeam::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadTeam::run(TaskRef task) {
  if (num_threads_ == 1) return task(0);
  MOEHILL_CHECK(task_ == nullptr, "a team runs one task at a time, from one thread");
  // Hands the task over: everything written before the release of generation_ is visible to the workers that
  // see it.
  task_ = &task;
  ++num_hand_overs_;
  num_pending_.store(static_cast<uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  run_member(0);
  for (uint32_t left; (left = num_pending_.load(std::memory_order_acquire)) != 0;)
    wait_while_equal(num_pending_, left, num_spins_);
  task_ = nullptr;
  if (failed_.load(std::memory_order_relaxed)) {
    failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

// Keeps the first exception of any member; run() throws it again on the caller's thread.
void ThreadTeam::run_member(int i) {
  try {
    (*task_)(i);
  } catch (...) {
    if (!failed_.exchange(true)) failure_ = std::current_exception();
  }
}

void ThreadTeam::worker(int i) {
  if (!cpus_.empty()) (void)pin_this_thread(cpus_[static_cast<size_t>(i)]);
  uint32_t seen = 0;
  while (true) {
    seen = wait_while_equal(generation_, seen, num_spins_);
    if (stopping_.load(std::memory_order_relaxed)) return;
    run_member(i);
    if (num_pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_pending_.notify_one();
  }
}

}  // namespace moehill
