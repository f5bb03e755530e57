// Reads .npy files of other programs: which ones are accepted, and a corpus of files that are refused.
#include "moehill/base/npy_reader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/base/npy.h"

namespace moehill {
namespace {

std::string path_of(const std::string& name) {
  static const TemporaryFolder folder;
  return folder.file(name);
}

std::string write(const std::string& bytes) {
  const std::string path = path_of("x.npy");
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

// Returns a file with this text as its header, without padding, and `bytes` bytes of data.
std::string file_of(const std::string& header, size_t bytes, char version = 1) {
  std::string file("\x93NUMPY", 6);
  file += {version, '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (version > 1) file += std::string(2, '\0');
  return file + header + std::string(bytes, '\1');
}

std::string header(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

std::string npy_refusal(const std::string& path) {
  try {
    NpyReader reader("--ids", path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(NpyReader, ReadsWhatTheWriterWrites) {
  const std::string path = path_of("own.npy");
  const std::vector<int32_t> ids = {5, -1, 7, 0, 2147483647, -2147483647};
  write_npy(path, {2, 3}, ids);
  NpyReader reader("--ids", path);
  EXPECT_EQ(reader.shape(), (std::vector<int64_t>{2, 3}));
  std::vector<int64_t> values(4);
  reader.read(2, values);
  EXPECT_EQ(values, (std::vector<int64_t>{7, 0, 2147483647, -2147483647}));
  write_npy(path, {3}, [](int64_t, std::span<float> row) { row[0] = 0.5f, row[1] = -2, row[2] = 3; });
  NpyReader floats("--gates", path);
  EXPECT_FALSE(floats.has_integers());
  std::vector<float> gates(3);
  floats.read(0, gates);
  EXPECT_EQ(gates, (std::vector<float>{0.5f, -2, 3}));
}

TEST(NpyReader, ReadsEveryWidth) {
  for (const std::string kind : {"i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"}) {
    const int bytes = kind[1] - '0';
    std::string file = file_of(header("<" + kind, "(2,)"), 0);
    file +=
        std::string(1, '\xfe') + std::string(static_cast<size_t>(bytes - 1), kind[0] == 'i' ? '\xff' : '\0');
    file += std::string(1, '\3') + std::string(static_cast<size_t>(bytes - 1), '\0');
    NpyReader reader("--ids", write(file));
    std::vector<int64_t> values(2);
    reader.read(0, values);
    EXPECT_EQ(values, (std::vector<int64_t>{kind[0] == 'i' ? -2 : 254, 3})) << kind;
  }
  EXPECT_EQ(npy_refusal(write(file_of("{\"shape\":(0,4),'fortran_order':False,'descr':'|u1'}", 0, 2))),
            "accepted");
}

// The first number would turn into -1 if it were read as an int64_t, and -1 means "no expert" in a trace.
TEST(NpyReader, UnsignedNumbersDoNotBecomeNegative) {
  const std::string file = file_of(header("<u8", "(3,)"), 0) + std::string(8, '\xff') + std::string(7, '\0') +
                           "\x80" + "\5" + std::string(7, '\0');
  NpyReader reader("--ids", write(file));
  std::vector<int64_t> values(3);
  reader.read(0, values);
  EXPECT_EQ(values, (std::vector<int64_t>{INT64_MAX, INT64_MAX, 5}));
}

TEST(NpyReader, RefusesWhatItCannotRead) {
  const std::string good = file_of(header("<i4", "(2, 3)"), 24);
  ASSERT_EQ(npy_refusal(write(good)), "accepted");
  const std::vector<std::string> bad = {
      "",
      "\x93NUMPY",
      std::string(100, '\0'),
      good.substr(0, 9),
      good.substr(0, 40),
      good.substr(0, good.size() - 1),
      good + "x",
      file_of(header("<i4", "(2, 3)"), 24, 4),
      file_of(header("<i4", "(2, 3)"), 24, 0),
      file_of(header(">i4", "(2, 3)"), 24),
      file_of(header("=i4", "(2, 3)"), 24),
      file_of(header("<i3", "(2, 3)"), 24),
      file_of(header("|O", "(2, 3)"), 24),
      file_of(header("<f2", "(2, 3)"), 24),
      file_of(header("|b1", "(2, 3)"), 24),
      file_of(header("<i4", "(-2, 3)"), 24),
      file_of(header("<i4", "(2.0, 3)"), 24),
      file_of(header("<i4", "(2 3)"), 24),
      file_of(header("<i4", "(2, 3"), 24),
      file_of(header("<i4", "[2, 3]"), 24),
      file_of(header("<i4", "(2, 30)"), 24),
      file_of(header("<i4", "(1099511627776, 1099511627776)"), 24),
      file_of(header("<i4", "(99999999999999999999, 1)"), 24),
      file_of(header("<i4", "(1, 1, 1, 1, 1, 1, 1, 1, 6)"), 24),
      file_of("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", 24),
      file_of("{'descr': '<i4', 'fortran_order': 0, 'shape': (2, 3), }", 24),
      file_of("{'descr': '<i4', 'shape': (2, 3), }", 24),
      file_of("{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", 24),
      file_of("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2, 3), }", 24),
      file_of("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}", 24),
      file_of("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)} x", 24),
      file_of("", 24),
      file_of("{", 24),
      file_of("{'descr", 24),
      std::string("\x93NUMPY\x02\x00\xff\xff\xff\x7f", 12) + std::string(100, ' '),
  };
  for (const std::string& file : bad) {
    const std::string error = npy_refusal(write(file));
    EXPECT_EQ(error.find("--ids: got "), 0u) << error << " of " << file.substr(0, 90);
    EXPECT_NE(error.find("allowed"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(NpyReader, OpensRegularFilesAlone) {
  EXPECT_NE(npy_refusal("/nonexistent/x.npy").find("(no such file"), std::string::npos)
      << npy_refusal("/nonexistent/x.npy");
  EXPECT_NE(npy_refusal(fresh_folder()).find("a folder"), std::string::npos);
  EXPECT_NE(npy_refusal("/dev/zero").find("no regular file"), std::string::npos);
  const std::string fifo = path_of("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(npy_refusal(fifo).find("no regular file"), std::string::npos);
  EXPECT_NE(npy_refusal(std::string(5000, 'x')), "accepted");
}

}  // namespace
}  // namespace moehill
