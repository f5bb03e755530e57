#include "moehill/mesh/node_cpus.h"

#include <algorithm>
#include <functional>
#include <map>

#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

// Matching matches threads with CPUs. If all CPUs of a thread are taken, earlier threads change to other CPUs
// that they may use (augmenting paths).
class Matching {
 public:
  explicit Matching(const std::vector<std::vector<int>>& allowed) : allowed_(allowed) {}

  bool add(size_t process) {
    threads_.push_back({process, kAnyCpu});
    const size_t thread = threads_.size() - 1;
    for (const int cpu : allowed_[process]) {
      if (!owner_.contains(cpu)) return give(thread, cpu);
    }
    std::vector<int> tried;
    return take(thread, tried);
  }

  std::vector<std::vector<int>> result() const {
    std::vector<std::vector<int>> cpus(allowed_.size());
    for (const Thread& thread : threads_) cpus[thread.process].push_back(thread.cpu);
    return cpus;
  }

 private:
  struct Thread {
    size_t process;
    int cpu;
  };

  bool give(size_t thread, int cpu) {
    owner_[cpu] = thread;
    threads_[thread].cpu = cpu;
    return true;
  }

  bool take(size_t thread, std::vector<int>& tried) {
    for (const int cpu : allowed_[threads_[thread].process]) {
      if (std::find(tried.begin(), tried.end(), cpu) != tried.end()) continue;
      tried.push_back(cpu);
      const auto owner = owner_.find(cpu);
      if (owner == owner_.end() || take(owner->second, tried)) return give(thread, cpu);
    }
    return false;
  }

  const std::vector<std::vector<int>>& allowed_;
  std::vector<Thread> threads_;
  std::map<int, size_t> owner_;  // [cpu]
};

// Returns false under a CPU quota. Then no thread is pinned, and all processes see the same number of cores.
bool has_places(const std::vector<std::vector<int>>& allowed) {
  return std::none_of(allowed.begin(), allowed.end(), [](const std::vector<int>& cpus) {
    return std::find(cpus.begin(), cpus.end(), kAnyCpu) != cpus.end();
  });
}

size_t fewest(const std::vector<std::vector<int>>& allowed) {
  const auto least = std::min_element(allowed.begin(), allowed.end(),
                                      [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return least == allowed.end() ? 0 : least->size();
}

}  // namespace

std::vector<std::vector<int>> share_cpus(const std::vector<std::vector<int>>& allowed, int num_threads) {
  const size_t threads = static_cast<size_t>(num_threads);
  if (!has_places(allowed)) {
    if (allowed.size() * threads > fewest(allowed)) return {};
    return std::vector<std::vector<int>>(allowed.size(), std::vector<int>(threads, kAnyCpu));
  }
  Matching matching(allowed);
  for (size_t process = 0; process < allowed.size(); ++process) {
    for (size_t i = 0; i < threads; ++i) {
      if (!matching.add(process)) return {};
    }
  }
  return matching.result();
}

int fair_threads(const std::vector<std::vector<int>>& allowed) {
  int threads = 1;
  while (static_cast<size_t>(threads) < fewest(allowed) && !share_cpus(allowed, threads + 1).empty())
    ++threads;
  return threads;
}

}  // namespace moehill
