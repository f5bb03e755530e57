#include "moehill/machine/sparse_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

namespace moehill {

// Huge pages are turned off: with them, writing one row would take memory for its neighbours too.
SparseMemory::SparseMemory(int64_t bytes) : mapped_bytes_(static_cast<size_t>(std::max<int64_t>(1, bytes))) {
  void* const mapping = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  (void)madvise(mapping, mapped_bytes_, MADV_NOHUGEPAGE);
  data_ = static_cast<char*>(mapping);
}

SparseMemory::~SparseMemory() { munmap(data_, mapped_bytes_); }

// Only whole pages can be given back, so the range is rounded inwards.
void SparseMemory::drop(Range bytes) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t begin = (bytes.begin + page - 1) / page * page, end = bytes.end / page * page;
  if (begin < end) (void)madvise(data_ + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
}

}  // namespace moehill
