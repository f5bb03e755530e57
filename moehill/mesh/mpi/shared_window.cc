#include "moehill/mesh/mpi/shared_window.h"

#include <array>
#include <cstdint>
#include <exception>

namespace moehill {

// The parts need not follow each other, so each can begin at a page.
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

// Where a part is aligned in one address space it is not in another, so each process says how far its part
// begins after its memory.
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

}  // namespace moehill
