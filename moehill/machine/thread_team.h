// ThreadTeam has the threads of one device. It runs one task at a time on all of them (SPMD) and is made
// once, because starting threads in every step would cost more than the step. It is no general thread pool:
// there is no queue of tasks and no task inside a task.
//
//   ThreadTeam team(2, topology.core_cpus);   // two threads; the second one is pinned
//   const PinScope pin(team.cpus()[0]);       // the caller is thread 0
//   team.parallel_for(num_rows, [&](int64_t begin, int64_t end) { fill_rows(begin, end); });
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

// TaskRef refers to a callable void(int) that it does not own. The team takes a TaskRef instead of a
// std::function, so that starting a task never allocates. The callable must live until run() returns.
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

// A ThreadTeam has `num_threads` members: the caller of run() and num_threads - 1 threads that wait for
// tasks.
class ThreadTeam {
 public:
  // The caller of run() is member 0; the other members are threads of the team. Member i is pinned to the
  // logical CPU cpus[i]; with an empty list the system places the threads. The team does not own the thread
  // that is member 0, so that one pins itself by PinScope (machine/pinning.h).
  explicit ThreadTeam(int num_threads, std::vector<int> cpus = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return num_threads_; }
  const std::vector<int>& cpus() const { return cpus_; }
  // Returns the number of tasks handed to the other threads so far. Only the thread that calls run() may ask.
  int64_t num_hand_overs() const { return num_hand_overs_; }

  // Calls task(i) for each i in [0, size) at the same time and returns when all have returned. If members
  // throw, one of the exceptions is thrown again here. Only one task runs at a time: do not call run() inside
  // a task, or from two threads at once. It allocates nothing.
  void run(TaskRef task);

  // Sets a function that member 0 calls now and then in the middle of a long task, so that messages between
  // processes make progress meanwhile. An empty function means nothing to do. Do not set it while a task
  // runs.
  void set_poll(std::function<void()> poll) { poll_ = std::move(poll); }
  // Calls that function. Long tasks call it now and then from member 0.
  void poll() const {
    if (poll_) poll_();
  }

  // Splits [0, n) into one contiguous share for each member and calls body(begin, end) on each share that is
  // not empty.
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
  const int num_spins_;  // how long a wait spins before it sleeps
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
