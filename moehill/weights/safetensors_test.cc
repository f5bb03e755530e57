// Tests reading of safetensors files and of checkpoints made of several: types, shapes, bytes, shards and bad
// headers.
#include "moehill/weights/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "moehill/base/error.h"
#include "moehill/weights/checkpoint.h"
#include "moehill/weights/files_fixture.h"

namespace moehill {
namespace {

using namespace testing_models;

TEST(Safetensors, ReadsTypesShapesAndBytes) {
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors", safetensors({{"b", {"F32", {2, 1}, "12345678"}},
                                                    {"a", {"U8", {3}, "xyz"}},
                                                    {"none", {"I64", {0, 5}, ""}}}));
  const SafetensorsFile file((folder / "a.safetensors").string());
  ASSERT_EQ(file.tensors().size(), 3u);
  const StoredTensor& b = file.tensors().at("b");
  EXPECT_EQ(b.dtype, "F32");
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(b.bytes.data()), b.bytes.size()), "12345678");
  EXPECT_EQ(file.tensors().at("none").bytes.size(), 0u);
}

TEST(Safetensors, AHeaderMayEndInBlanksAndAScalarHasNoDimension) {
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors",
             with_length(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )", "1234"));
  EXPECT_TRUE(SafetensorsFile((folder / "a.safetensors").string()).tensors().at("x").shape.empty());
}

TEST(Safetensors, RefusesEveryBadHeader) {
  for (const BadFile& bad : bad_headers()) {
    const std::string path = bad.write(fresh_folder()).string();
    expect_refusal(bad, [&] { SafetensorsFile{path}; });
  }
}

TEST(Safetensors, APipeIsRefusedAtOnce) {
  const std::string path = (fresh_folder() / "pipe.safetensors").string();
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  expect_refusal({"pipe", nullptr, "a pipe or a device"}, [&] { SafetensorsFile{path}; });
}

// Opening a file maps it. A terabyte that was never written takes no memory, because nothing reads it.
TEST(Safetensors, ASparseFileOfATerabyteTakesNoMemory) {
  const std::string path = (fresh_folder() / "sparse.safetensors").string();
  write_file(
      path,
      with_length(R"({"x":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}})", ""));
  const auto header = static_cast<off_t>(fs::file_size(path));
  if (truncate(path.c_str(), header + (off_t{1} << 40)) != 0) GTEST_SKIP() << "no such files here";
  EXPECT_EQ(SafetensorsFile(path).tensors().at("x").bytes.size(), size_t{1} << 40);
}

TEST(SafetensorsDeathTest, AFileCutOffWhileItIsReadEndsInOneLineAndStatusTwo) {
  const std::string path = (fresh_folder() / "cut.safetensors").string();
  const int64_t size = 1 << 20;
  write_file(path, safetensors({{"x", {"U8", {size}, std::string(size, 'x')}}}));
  EXPECT_EXIT(
      {
        const SafetensorsFile file(path);
        const StoredTensor& x = file.tensors().at("x");
        if (truncate(path.c_str(), 4096) != 0) std::exit(3);
        std::exit(std::to_integer<int>(x.bytes.back()));
      },
      ::testing::ExitedWithCode(2), "became shorter while it was read");
}

TEST(Checkpoint, FindsTensorsInOneFileInShardsAndByTheirIndex) {
  const Model model = bad_base();
  const fs::path one = fresh_folder(), shards = fresh_folder();
  write_file(one / "any name.safetensors", safetensors(model.tensors));
  write_shards(shards, model.tensors, 3);
  for (const fs::path& path :
       {one, one / "any name.safetensors", shards, shards / "model.safetensors.index.json"}) {
    Checkpoint checkpoint(path.string());
    for (const auto& [name, tensor] : model.tensors) {
      const StoredTensor& stored = checkpoint.tensor(name);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(stored.bytes.data()), stored.bytes.size()),
                tensor.bytes);
    }
    EXPECT_FALSE(checkpoint.has("another"));
    EXPECT_THROW(checkpoint.tensor("another"), InputError);
  }
}

// Hugging Face's cache is laid out like this.
TEST(Checkpoint, AShardMayBeALinkToAnotherFolder) {
  const fs::path blobs = fresh_folder(), snapshot = fresh_folder();
  const Model model = bad_base();
  write_shards(snapshot, model.tensors, 2);
  for (const char* name : {"model-0.safetensors", "model-1.safetensors"}) {
    fs::rename(snapshot / name, blobs / name);
    fs::create_symlink(blobs / name, snapshot / name);
  }
  Checkpoint checkpoint(snapshot.string());
  for (const auto& [name, tensor] : model.tensors)
    EXPECT_EQ(checkpoint.tensor(name).bytes.size(), tensor.bytes.size());
}

TEST(Checkpoint, OpensOnlyTheShardsThatItNeeds) {
  const fs::path folder = fresh_folder();
  write_shards(folder, bad_base().tensors, 2);
  fs::remove(folder / "model-1.safetensors");
  Checkpoint checkpoint(folder.string());
  size_t there = 0;
  checkpoint.visit_names("", [&](const std::string& name) {
    try {
      checkpoint.tensor(name);
      ++there;
    } catch (const InputError&) {
    }
  });
  EXPECT_EQ(there, (bad_base().tensors.size() + 1) / 2);
}

}  // namespace
}  // namespace moehill
