#include "moehill/mesh/mpi/exchange_windows.h"

#include <sys/mman.h>

#include <algorithm>
#include <exception>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

}  // namespace

ExchangeWindows::ExchangeWindows(MPI_Comm node) : node_(node) {
  check_mpi("MPI_Comm_rank", MPI_Comm_rank(node, &local_rank_));
}

ExchangeWindows::~ExchangeWindows() {
  if (std::uncaught_exceptions() > 0) return;
  for (const Entry& entry : entries_)
    MOEHILL_CHECK(entry.memory.expired(), "exchange memory outlives its mesh");
}

std::shared_ptr<void> ExchangeWindows::make(size_t bytes) {
  free_unused();
  const size_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  auto window = std::make_unique<SharedWindow>(node_, bytes, alignment);
  void* const begin = window->part(local_rank_);
  // A refusal leaves ordinary pages, which are slower and still right.
  if (bytes >= kHugePage) (void)madvise(begin, bytes, MADV_HUGEPAGE);
  std::shared_ptr<void> memory(begin, [](void*) {});  // free_unused() gives it back, with the peers
  entries_.push_back({std::move(window), memory});
  return memory;
}

void ExchangeWindows::free_unused() {
  if (entries_.empty()) return;
  std::vector<int> unused;
  for (const Entry& entry : entries_) unused.push_back(entry.memory.expired() ? 1 : 0);
  check_mpi("MPI_Allreduce", MPI_Allreduce(MPI_IN_PLACE, unused.data(), static_cast<int>(unused.size()),
                                           MPI_INT, MPI_MIN, node_));
  std::vector<Entry> used;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (unused[i] == 0) used.push_back(std::move(entries_[i]));
  }
  entries_ = std::move(used);
}

Place ExchangeWindows::locate(const void* memory, size_t bytes) const {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uintptr_t first = reinterpret_cast<uintptr_t>(entries_[i].window->part(local_rank_));
    const size_t size = entries_[i].window->bytes(local_rank_);
    if (begin >= first && begin - first <= size && bytes <= size - (begin - first)) {
      return {static_cast<int32_t>(i), begin - first};
    }
  }
  return {};
}

char* ExchangeWindows::address(int local_rank, Place place) const {
  if (!place.reachable()) return nullptr;
  return entries_[static_cast<size_t>(place.window)].window->part(local_rank) + place.offset;
}

}  // namespace moehill
