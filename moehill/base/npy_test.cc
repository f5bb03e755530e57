// Compares .npy files byte for byte with what NumPy's own writer makes.
#include "moehill/base/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Npy, FloatRows) {
  const TemporaryFolder folder;
  const std::string path = folder.file("f4.npy");
  write_npy(path, {2, 1, 3}, [](int64_t row, std::span<float> values) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(10 * row) + static_cast<float>(i);
  });
  const std::string bytes = contents(path);
  ASSERT_EQ(bytes.size(), 128u + 6 * 4);
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(bytes.substr(10, 62), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3), }");
  EXPECT_EQ(bytes[127], '\n');
  float last = 0;
  std::memcpy(&last, bytes.data() + bytes.size() - 4, 4);
  EXPECT_EQ(last, 12.0F);
}

TEST(Npy, Integers) {
  const TemporaryFolder folder;
  const std::string path = folder.file("i4.npy");
  const std::vector<int32_t> values = {1, -2, 3};
  write_npy(path, {3}, values);
  const std::string bytes = contents(path);
  EXPECT_NE(bytes.find("'<i4'"), std::string::npos);
  EXPECT_NE(bytes.find("(3,)"), std::string::npos);
  EXPECT_EQ(std::memcmp(bytes.data() + bytes.size() - 12, values.data(), 12), 0);
}

TEST(Npy, UnwritableFileIsAnErrorWithItsPath) {
  try {
    write_npy("/nowhere/x.npy", {1}, std::vector<int32_t>{1});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/x.npy"), std::string::npos);
  }
}

}  // namespace
}  // namespace moehill
