#include "moehill/machine/placement.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

// Returns the first logical CPU of the core that `cpu` belongs to; two hyperthreads of a core give the same
// number.
int core_of(int cpu) {
  std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  int first = cpu;
  return in >> first ? first : cpu;
}

}  // namespace

ThreadPlace place_of_this_thread() {
  cpu_set_t set;
  unsigned cpu = 0, numa = 0;
  const bool held = sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
  if (!held || getcpu(&cpu, &numa) != 0) return {kAnyCpu, kAnyCpu, kAnyCpu};
  const int own = static_cast<int>(cpu);
  return {own, core_of(own), static_cast<int>(numa)};
}

std::vector<ThreadPlace> places_of(ThreadTeam& team) {
  std::vector<ThreadPlace> places(static_cast<size_t>(team.size()));
  team.run([&](int i) { places[static_cast<size_t>(i)] = place_of_this_thread(); });
  return places;
}

// Asks the system where pages lie. move_pages() without a list of target nodes moves nothing: it only reports
// the node of each page, or an error below 0.
PageSample sample_pages(const void* begin, size_t bytes, const std::vector<int>& nodes, int max_pages) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) / page * page;
  const size_t num_pages = (reinterpret_cast<uintptr_t>(begin) + bytes - first + page - 1) / page;
  const size_t num_sampled = bytes == 0 ? 0 : std::min(num_pages, static_cast<size_t>(max_pages));
  std::vector<void*> pages;
  for (size_t i = 0; i < num_sampled; ++i)
    pages.push_back(reinterpret_cast<void*>(first + i * num_pages / num_sampled * page));
  std::vector<int> status(num_sampled, -1);
  const bool told = syscall(SYS_move_pages, 0, num_sampled, pages.data(), nullptr, status.data(), 0) == 0;
  PageSample sample;
  for (const int node : status) {
    const bool local = std::find(nodes.begin(), nodes.end(), node) != nodes.end();
    ++(!told || node < 0 ? sample.num_unknown : local ? sample.num_local : sample.num_remote);
  }
  return sample;
}

}  // namespace moehill
