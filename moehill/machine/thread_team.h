// ThreadTeam: the threads of one device, one task at a time on all of them (SPMD).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "moehill/base/partition.h"

namespace moehill {

// A non-owning reference to a callable void(int): the team never allocates to start a task.
class TaskRef {
 public:
  template <typename F>
  TaskRef(const F& f)  // NOLINT: implicit by design
      : object_(&f), call_([](const void* object, int i) { (*static_cast<const F*>(object))(i); }) {}
  void operator()(int i) const { call_(object_, i); }

 private:
  const void* object_;
  void (*call_)(const void*, int);
};

class ThreadTeam {
 public:
  // `num_threads` members; the caller of run() is member 0, the others are threads of the team.
  // cpus[i] is the logical CPU that member i is pinned to; empty leaves the threads to the system. Member 0
  // is pinned by pin_caller(), since the team does not own its caller.
  explicit ThreadTeam(int num_threads, std::vector<int> cpus = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return num_threads_; }
  const std::vector<int>& cpus() const { return cpus_; }
  void pin_caller() const;
  // Tasks handed to the other threads so far; for the thread that calls run().
  int64_t num_hand_overs() const { return num_hand_overs_; }

  // Calls task(i) for i in [0, size) at once and returns when all are done. Rethrows the first exception of a
  // member. One run at a time: not from inside a task, not from two threads at once. Allocates nothing.
  void run(TaskRef task);

  // Sets what member 0 does now and then in the middle of long tasks, because something else wants to be
  // moved on; empty: nothing. It must not be called from inside a task.
  void set_poll(std::function<void()> poll) { poll_ = std::move(poll); }
  // Member 0 of a task calls this now and then.
  void poll() const {
    if (poll_) poll_();
  }

  // Calls body(begin, end) on each member's share of [0, n).
  template <typename Body>
  void parallel_for(int64_t n, const Body& body) {
    run([&](int i) {
      const Range range = share(n, i, num_threads_);
      if (range.begin < range.end) body(range.begin, range.end);
    });
  }

 private:
  void stop();
  void worker(int i);
  void run_member(int i);

  int num_threads_;
  std::vector<int> cpus_;
  const int num_spins_;  // of a wait before it sleeps
  const TaskRef* task_ = nullptr;
  int64_t num_hand_overs_ = 0;
  std::function<void()> poll_;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> num_pending_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;
};

}  // namespace moehill
