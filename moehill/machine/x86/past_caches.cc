#include "moehill/machine/past_caches.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

namespace moehill {
namespace {

constexpr size_t kLine = 64;

void plain_copy(char* to, const char* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

// Writes a whole line of 64 bytes at once, so that it leaves the core as one write to memory.
void stream_line(char* to, const char* from) {
  __m128i part[4];
  for (int i = 0; i < 4; ++i) part[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + i);
  for (int i = 0; i < 4; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(to) + i, part[i]);
}

}  // namespace

void copy_past_caches(void* to, const void* from, size_t bytes) {
  char* out = static_cast<char*>(to);
  const char* in = static_cast<const char*>(from);
  // Streaming stores need whole, aligned lines. The bytes before the first and after the last whole line are
  // copied plainly.
  const size_t head = std::min(bytes, (kLine - reinterpret_cast<uintptr_t>(out) % kLine) % kLine);
  plain_copy(out, in, head);
  const size_t lines_end = head + (bytes - head) / kLine * kLine;
  for (size_t i = head; i < lines_end; i += kLine) stream_line(out + i, in + i);
  plain_copy(out + lines_end, in + lines_end, bytes - lines_end);
  _mm_sfence();  // streaming stores are not ordered with the atomics that announce the copy, so they are
                 // fenced here
}

}  // namespace moehill
