// Tests of the name of a build: two programs are told apart by their content, whatever they are called.
#include "moehill/quiet/environment.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

TEST(BuildIdentity, AFileIsKnownByItsContent) {
  const TemporaryFolder folder;
  const auto hash_of_text = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder.file(name), std::ios::binary) << text;
    return file_hash(folder.file(name));
  };
  const std::string text((2 << 20) + 5, 'a');  // more than one piece
  std::string edited = text;
  edited.back() = 'b';
  const std::string hash = hash_of_text("a", text);
  EXPECT_EQ(hash.size(), 16u) << hash;
  EXPECT_EQ(hash_of_text("b", text), hash);
  EXPECT_NE(hash_of_text("c", edited), hash);
  EXPECT_NE(hash_of_text("d", text + "a"), hash);
  EXPECT_EQ(file_hash(folder.file("none")), "unknown");
}

TEST(BuildIdentity, IsTheNameAndThisProgramsContent) {
  Environment environment;
  environment.build = "0.0.0 Release abc-dirty";
  EXPECT_EQ(program_hash(), file_hash("/proc/self/exe"));
  EXPECT_EQ(build_identity(environment), "0.0.0 Release abc-dirty, program " + program_hash());
}

}  // namespace
}  // namespace moehill
