#include "moehill/tensor/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace moehill {
namespace {

TEST(Buffer, IsAlignedZeroAndWritableToItsEnd) {
  for (const size_t bytes :
       {size_t{1}, size_t{64}, size_t{4097}, (size_t{2} << 20) - 1, size_t{2} << 20, (size_t{5} << 20) + 3}) {
    const Buffer buffer(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    const size_t alignment = bytes >= size_t{2} << 20 ? size_t{2} << 20 : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % alignment, 0u) << bytes;
    char* data = static_cast<char*>(buffer.data());
    EXPECT_EQ(data[0], 0);
    EXPECT_EQ(data[bytes - 1], 0);
    std::memset(data, 1, bytes);
  }
}

TEST(Buffer, EmptyOnesOwnNothing) {
  const size_t before = Buffer::num_allocations();
  EXPECT_EQ(Buffer().data(), nullptr);
  EXPECT_EQ(Buffer(0).data(), nullptr);
  EXPECT_EQ(Buffer::num_allocations(), before);
}

TEST(Buffer, MovesItsMemoryAndCountsItOnce) {
  const size_t before = Buffer::num_allocations();
  Buffer first(100);
  static_cast<char*>(first.data())[99] = 7;
  void* const data = first.data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.data(), data);
  Buffer third;
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.bytes(), 100u);
  EXPECT_EQ(static_cast<char*>(third.data())[99], 7);
  EXPECT_EQ(Buffer::num_allocations(), before + 1);
}

TEST(Buffer, WhatCannotBeHadThrows) {
  EXPECT_THROW(Buffer(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(Buffer(size_t{1} << 62), std::bad_alloc);
}

}  // namespace
}  // namespace moehill
