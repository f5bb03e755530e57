// Tests with a corpus of bad traces, placements and balancing options: each ends with status 2, says what is
// allowed, and leaves no file behind.
#include <cmath>
#include <cstring>

#include "moehill/base/npy.h"
#include "moehill/base/refusal_fixture.h"
#include "moehill/cli/command_fixture.h"
#include "moehill/routing/bad_traces_fixture.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

class BadRouting : public CommandFixture {
 protected:
  BadRouting() : CommandFixture("bench") {
    run_in_child("--distribution none");
  }  // makes the files of what it says

  void expect_refused(const std::string& arguments, const std::string& what) {
    const auto num_files = [&] {
      return std::distance(fs::recursive_directory_iterator(folder_), fs::recursive_directory_iterator());
    };
    const auto before = num_files();
    EXPECT_EQ(
        run_in_child(
            "--tokens 2 --hidden 16 --mlp-dim 16 --experts 8 --topk 2 --shared-expert-dim 0 --json r.jsonl "
            "--save-routing saved.npy --dump dumped --iters 1 --threads-per-device 1 " +
            arguments),
        2)
        << what << read("out");
    EXPECT_TRUE(is_refusal(read("err"))) << what << ": " << read("err");
    EXPECT_EQ(num_files(), before) << what;
    ++num_refused_;
  }
  int num_refused_ = 0;
};

TEST_F(BadRouting, Traces) {
  for (const std::string& text : bad_traces()) {
    write("t.jsonl", text);
    expect_refused("--distribution trace:t.jsonl", text.substr(0, 100));
  }
  EXPECT_GE(num_refused_, 75);
}

// Returns an .npy file with this header, followed by these bytes.
std::string npy_file(std::string header, const std::string& data, const std::string& version = "\x01") {
  header += std::string(117 - header.size(), ' ') + "\n";
  return "\x93NUMPY" + version + std::string("\0\x76\0", 3) + header + data;
}

std::string header_of(const std::string& descr, const std::string& shape, const char* fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

std::string bytes_of(const std::vector<int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)};
}

TEST_F(BadRouting, Arrays) {
  const std::string good = bytes_of({0, 1, 2, 3}), shape = header_of("<i4", "(2, 2)");
  const std::string cut = npy_file(shape, good).substr(0, 40), start = "\x93NUMPY";
  for (const std::string& text : {npy_file(header_of("<i4", "(4,)"), good),
                                  npy_file(header_of("<i4", "()"), good),
                                  npy_file(header_of("<i4", "(1, 2, 2, 1)"), good),
                                  npy_file(header_of("<i4", "(4, 1)"), good),
                                  npy_file(header_of("<i4", "(1, 2)"), good),
                                  npy_file(header_of("<i4", "(0, 2)"), ""),
                                  npy_file(header_of("<i4", "(2, 0, 2)"), ""),
                                  npy_file(header_of("<i4", "(2, 2, 2)"), good + good),
                                  npy_file(header_of("<i4", "(-2, 2)"), good),
                                  npy_file(header_of("<i4", "(2.0, 2)"), good),
                                  npy_file(header_of("<i4", "(4611686018427387904, 4)"), good),
                                  npy_file(header_of("<i4", "(99999999999999999999, 2)"), good),
                                  npy_file(header_of("<i4", "(2, 2)", "True"), good),
                                  npy_file(header_of("<f4", "(2, 2)"), good),
                                  npy_file(header_of("|O", "(2, 2)"), good),
                                  npy_file(header_of("<c8", "(2, 2)"), good + good),
                                  npy_file(header_of("<M8[s]", "(2, 2)"), good + good),
                                  npy_file(header_of("|S4", "(2, 2)"), good),
                                  npy_file(header_of("|b1", "(2, 2)"), good),
                                  npy_file(header_of("<i3", "(2, 2)"), good),
                                  npy_file("[0, 1]", good),
                                  npy_file("{}", good),
                                  npy_file("{'shape': (2, 2), }", good),
                                  npy_file("{'descr': '<i4', 'shape': (2, 2), 'fortran_order': 0, }", good),
                                  npy_file("__import__('os').system('true')", good),
                                  npy_file(shape, good, "\x09"),
                                  npy_file(shape, good.substr(0, 15)),
                                  npy_file(shape, ""),
                                  cut,
                                  start,
                                  start + "\x01",
                                  npy_file(shape, bytes_of({0, 1, 2, 8})),
                                  npy_file(shape, bytes_of({0, 1, 2, -2})),
                                  npy_file(shape, bytes_of({0, 1, 3, 3})),
                                  npy_file(shape, bytes_of({0, 1, 2, -2147483647 - 1}))}) {
    write("t.npy", text);
    expect_refused("--distribution trace:t.npy", text.substr(0, 90));
  }
  write("t.npy", npy_file(header_of("<i4", "(2, 2, 2)"), good + good));
  for (const std::string part : {"layer=2", "layer=-1", "step=0", "layer=0,step=0", "layer=0,gates=t.npy",
                                 "layer=0,gates=none.npy", "layer=0,layer=1"})
    expect_refused("--distribution trace:t.npy," + part, part);
  EXPECT_GE(num_refused_, 40);
}

// The message names the token whose gate value or id is wrong.
TEST_F(BadRouting, NamesTheToken) {
  write("t.jsonl", line(0, 0, 0, "[[0, 1], [2, 3]]", R"(, "gate_values": [[0.5, 0.5], [0.5, 1e39]])"));
  expect_refused("--distribution trace:t.jsonl", "infinite");
  EXPECT_NE(read("err").find("token 1"), std::string::npos) << read("err");
  for (const float value : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    write_npy(folder_ + "/t.npy", {2, 2}, std::vector<int32_t>{0, 1, 2, 3});
    write_npy(folder_ + "/g.npy", {2, 2}, [&](int64_t row, std::span<float> values) {
      values[0] = 0.5f;
      values[1] = row == 1 ? value : 0.5f;
    });
    expect_refused("--distribution trace:t.npy,gates=g.npy", "a gate value");
    EXPECT_NE(read("err").find("of token 1"), std::string::npos) << read("err");
  }
}

TEST_F(BadRouting, Placements) {
  const std::vector<std::string> bad = {"",
                                        "{",
                                        "{}",
                                        "[]",
                                        "null",
                                        "7",
                                        "[0,1,2,3,4,5,6,7]",
                                        R"({"placement": {}})",
                                        R"({"placement": null})",
                                        R"({"placement": "0,1,2,3,4,5,6,7"})",
                                        R"({"placement": []})",
                                        R"({"placement": [0]})",
                                        R"({"placement": [0,1,2,3,4,5,6]})",
                                        R"({"placement": [0,1,2,3,4,5,6,8]})",
                                        R"({"placement": [0,1,2,3,4,5,6,-1]})",
                                        R"({"placement": [0,1,2,3,4,5,6,6]})",
                                        R"({"placement": [0,1,2,3,4,5,6,7.0]})",
                                        R"({"placement": [0,1,2,3,4,5,6,"7"]})",
                                        R"({"placement": [0,1,2,3,4,5,6,null]})",
                                        R"({"placement": [0,1,2,3,4,5,6,[7]]})",
                                        R"({"placement": [0,1,2,3,4,5,6,18446744073709551615]})",
                                        R"({"placement": [0,1,2,3,4,5,6,1e400]})",
                                        R"({"placement": [0,1,2,3,4,5,6,99999999999999999999]})",
                                        R"({"placement": [0,0,1,2,3,4,5,6,7,7]})",
                                        R"({"placement": [0,1,2,3,4,5,6,7], "placement": [0,1,2,3,4,5,6,7]})",
                                        R"({"placement": [0,1,2,3,4,5,6,7], "more": 1})",
                                        R"({"Placement": [0,1,2,3,4,5,6,7]})",
                                        R"({"placement": [0,1,2,3,4,5,6,7]} x)",
                                        std::string("{\"placement\": [0]}\0", 19),
                                        "\xff\xfe",
                                        std::string(300, '['),
                                        std::string("PK\x03\x04\0\0", 6)};
  for (const std::string& text : bad) {
    write("p.json", text);
    expect_refused("--parallel-mode ep --devices 2 --placement p.json", text.substr(0, 100));
  }
  write("p.json", R"({"placement": [7,1,2,3,4,5,6,0,7,0]})");  // places 0 to 4 and 5 to 9
  expect_refused("--parallel-mode ep --devices 2 --placement p.json", "expert 0 twice on device 1");
  EXPECT_NE(read("err").find("device 1"), std::string::npos) << read("err");
  EXPECT_GE(num_refused_, 33);
}

TEST_F(BadRouting, Options) {
  write("p.json", R"({"placement": [7,1,2,3,4,5,6,0]})");
  for (const std::string arguments :
       {"--placement p.json",
        "--parallel-mode dp --devices 2 --placement greedy",
        "--parallel-mode ep --devices 2 "
        "--placement none.json",
        "--parallel-mode ep --devices 2 --placement .",
        "--parallel-mode ep --devices 2 --placement greedy:9",
        "--parallel-mode ep --devices 2 --placement greedy:x",
        "--parallel-mode ep --devices 2 --placement greedy:-1",
        "--parallel-mode ep --devices 2 --placement hierarchical",
        "--parallel-mode ep --devices 2 --placement hierarchical:2",
        "--parallel-mode ep --devices 2 --placement "
        "hierarchical:3,6",
        "--parallel-mode ep --devices 2 --placement hierarchical:2,3",
        "--parallel-mode ep --devices 2 --placement greedy:2 --capacity-policy drop --capacity-factor 1",
        "--parallel-mode ep --devices 2 --ep-path fused --placement greedy --router in-step",
        "--capacity-order gate",
        "--capacity-pool 2",
        "--capacity-sources 2",
        "--capacity-spares 1",
        "--capacity-policy pad --capacity-factor 1 --capacity-order gate",
        "--capacity-policy drop --capacity-factor 1 --capacity-pool 0",
        "--capacity-policy drop --capacity-factor 1 --capacity-pool 9",
        "--capacity-policy drop --capacity-factor 1 --capacity-sources 3",
        "--capacity-policy drop --capacity-factor 1 --capacity-spares 7",
        "--capacity-policy drop --capacity-factor 1 --capacity-spares 1 --router-grad",
        "--capacity-policy drop --capacity-factor nan",
        "--capacity-policy drop --capacity-factor -1",
        "--balance-loss balance=0.1",
        "--router-grad --balance-loss aux=1",
        "--router-grad --balance-loss balance=nan",
        "--router-grad --balance-loss sequence=0.1",
        "--router-grad --balance-loss sequence=0.1:3",
        "--router-grad --balance-loss z=inf",
        "--router-grad --bench-pass forward --balance-loss z=1"})
    expect_refused(arguments, arguments);
}

}  // namespace
}  // namespace moehill
