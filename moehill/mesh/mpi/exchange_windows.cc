// Implements exchange_windows.h with MPI's shared windows.
#include "moehill/mesh/mpi/exchange_windows.h"

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <exception>

#include "moehill/base/error.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

}  // namespace

// The parts of the processes need not follow one another, so each can begin at a page.
void* SharedWindow::allocate(MPI_Comm node, size_t bytes) {
  MPI_Info info = MPI_INFO_NULL;
  void* memory = nullptr;
  check_mpi("MPI_Info_create", MPI_Info_create(&info));
  check_mpi("MPI_Info_set", MPI_Info_set(info, "alloc_shared_noncontig", "true"));
  check_mpi("MPI_Win_allocate_shared",
            MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes), 1, info, node, &memory, &window_));
  check_mpi("MPI_Info_free", MPI_Info_free(&info));
  check_mpi("MPI_Win_set_errhandler", MPI_Win_set_errhandler(window_, MPI_ERRORS_RETURN));
  check_mpi("MPI_Win_lock_all", MPI_Win_lock_all(MPI_MODE_NOCHECK, window_));
  return memory;
}

// A place that is aligned in one process need not be aligned in another. So each process aligns its own part
// and tells the others how far from its memory the part begins.
SharedWindow::SharedWindow(MPI_Comm node, size_t bytes, size_t alignment) {
  const uintptr_t memory = reinterpret_cast<uintptr_t>(allocate(node, bytes + alignment));
  const size_t skip = (alignment - memory % alignment) % alignment;
  const std::array<uint64_t, 2> own = {skip, bytes};
  int num_local = 0;
  check_mpi("MPI_Comm_size", MPI_Comm_size(node, &num_local));
  std::vector<std::array<uint64_t, 2>> all(static_cast<size_t>(num_local));
  check_mpi("MPI_Allgather", MPI_Allgather(&own, 2, MPI_UINT64_T, all.data(), 2, MPI_UINT64_T, node));
  for (int l = 0; l < num_local; ++l) {
    MPI_Aint size = 0;
    int unit = 0;
    void* begin = nullptr;
    check_mpi("MPI_Win_shared_query", MPI_Win_shared_query(window_, l, &size, &unit, &begin));
    const auto [skipped, length] = all[static_cast<size_t>(l)];
    parts_.push_back({static_cast<char*>(begin) + skipped, length});
  }
}

SharedWindow::~SharedWindow() {
  if (std::uncaught_exceptions() > 0) return;
  (void)MPI_Win_unlock_all(window_);
  (void)MPI_Win_free(&window_);
}

ExchangeWindows::ExchangeWindows(MPI_Comm node) : node_(node) {
  check_mpi("MPI_Comm_rank", MPI_Comm_rank(node, &local_rank_));
}

ExchangeWindows::~ExchangeWindows() {
  if (std::uncaught_exceptions() > 0) return;
  for (const Entry& entry : entries_)
    MOEHILL_CHECK(entry.memory.expired(), "exchange memory outlives its mesh");
}

std::shared_ptr<void> ExchangeWindows::make(size_t bytes) {
  const WatchedCall making("making exchange memory");
  free_unused();
  auto window = std::make_unique<SharedWindow>(node_, bytes, bytes >= kHugePage ? kHugePage : kPage);
  void* const begin = window->part(local_rank_);
  // The system may refuse huge pages. Ordinary pages are slower but correct.
  if (bytes >= kHugePage) (void)madvise(begin, bytes, MADV_HUGEPAGE);
  std::shared_ptr<void> memory(begin, [](void*) {});  // free_unused() gives it back, together with the peers
  entries_.push_back({std::move(window), memory});
  return memory;
}

// A window is freed only when its memory is unused on all ranks, because freeing is collective.
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
