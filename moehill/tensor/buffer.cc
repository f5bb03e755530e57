#include "moehill/tensor/buffer.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <new>

namespace moehill {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;
std::atomic<size_t> num_made{0};

}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  num_made.fetch_add(1, std::memory_order_relaxed);
  const size_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  if (bytes > SIZE_MAX - 2 * alignment) throw std::bad_alloc();
  // Room for alignment is reserved on top, since the system aligns a mapping to 4 KiB only. Addresses cost
  // nothing.
  mapped_bytes_ = (bytes + alignment - 1) / alignment * alignment + (alignment > kPage ? alignment : 0);
  mapping_ = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    throw std::bad_alloc();
  }
  const uintptr_t start = (reinterpret_cast<uintptr_t>(mapping_) + alignment - 1) / alignment * alignment;
  data_ = reinterpret_cast<void*>(start);
  // The system may refuse huge pages. Ordinary pages are slower but correct.
  if (alignment == kHugePage) (void)madvise(data_, bytes, MADV_HUGEPAGE);
}

void Buffer::release() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_bytes_);
  mapping_ = data_ = nullptr;
}

size_t Buffer::num_allocations() { return num_made.load(std::memory_order_relaxed); }

}  // namespace moehill
