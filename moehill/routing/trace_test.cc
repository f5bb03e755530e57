// Traces are read back bit for bit, Megatron's lines are put in order, and a corpus of bad files is refused.
#include "moehill/routing/trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/base/npy.h"
#include "moehill/base/refusal_fixture.h"
#include "moehill/routing/bad_traces_fixture.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

std::string path_of(const std::string& name) {
  static const TemporaryFolder folder;
  return folder.file(name);
}

std::string write(const std::string& name, const std::string& text) {
  const std::string path = path_of(name);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  return path;
}

Routing read(const std::string& selection, int64_t tokens, int experts, int topk) {
  return read_trace(parse_trace_selection(selection), tokens, experts, topk);
}

std::string refusal(const std::string& selection, int64_t tokens = 2, int experts = 8, int topk = 2) {
  try {
    read(selection, tokens, experts, topk);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TraceSelection, IsTextAndBack) {
  for (const std::string text : {"a.npy", "a.jsonl,layer=3", "a,b.jsonl,layer=0,step=12",
                                 "x/y.npy,gates=z,1.npy", "a,layer=1,b.npy,step=2", "a=b"}) {
    EXPECT_EQ(to_string(parse_trace_selection(text)), text);
  }
  const TraceSelection both = parse_trace_selection("a.jsonl,step=4,layer=3");
  EXPECT_EQ(both, (TraceSelection{"a.jsonl", 3, 4, ""}));
  for (const std::string text : {"", ",layer=1", "a,layer=1,layer=2", "a,layer=x", "a,step=-1",
                                 "a,step=", "a,gates=", "a,gates=b,gates=c", "a,layer=99999999999"}) {
    EXPECT_THROW(parse_trace_selection(text), InputError) << text;
  }
}

TEST(Trace, IsReadBackBitByBit) {
  Routing routing = route_topk(make_logits({}, 37, 11, 3, 5), 37, 11, 3);
  routing.weight[4] = 1e-42f;  // subnormal
  routing.weight[5] = -3.4028234663852886e38f;
  routing.expert[7] = kNoExpert, routing.weight[7] = 0;
  for (const std::string name : {"own.jsonl", "own.npy"}) {
    const std::string path = path_of(name);
    write_trace(path, routing);
    const Routing again = read(replay_text(path).substr(6), 37, 11, 3);
    EXPECT_EQ(again.expert, routing.expert) << name;
    EXPECT_EQ(again.weight, routing.weight) << name;
    const Routing first = read(replay_text(path).substr(6), 9, 11, 3);
    EXPECT_TRUE(std::equal(first.expert.begin(), first.expert.end(), routing.expert.begin())) << name;
  }
}

TEST(Trace, RanksFollowEachOther) {
  const std::string path =
      write("ranks.jsonl", line(0, 3, 1, "[[4, 5]]") + line(0, 3, 0, "[[0, 1], [2, 3]]") + "\n" +
                               line(0, 4, 0, "[[7, 6]]") + line(1, 3, 0, "[[6, 7]]") +
                               R"({"block": "mtp", "step": 0, "layer": 3, "rank": 0})");
  EXPECT_EQ(read(path + ",layer=3,step=0", 3, 8, 2).expert, (std::vector<int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read(path + ",layer=3,step=1", 1, 8, 2).expert, (std::vector<int32_t>{6, 7}));
  EXPECT_EQ(read(path + ",layer=4", 1, 8, 2).expert, (std::vector<int32_t>{7, 6}));
  EXPECT_NE(refusal(path).find("steps 0 to 1, layers 3 to 4"), std::string::npos) << refusal(path);
  EXPECT_NE(refusal(path + ",layer=9").find("layers 3 to 4 in this file"), std::string::npos);
}

TEST(Trace, GateValuesAreEqualWhereThereAreNone) {
  const std::string path = write("equal.jsonl", line(0, 0, 0, "[[0, 1], [-1, 3], [-1, -1]]"));
  const Routing routing = read(path, 3, 4, 2);
  EXPECT_EQ(routing.expert, (std::vector<int32_t>{0, 1, -1, 3, -1, -1}));
  EXPECT_EQ(routing.weight, (std::vector<float>{0.5f, 0.5f, 0, 1, 0, 0}));
}

TEST(Trace, LayersOfAnArray) {
  const std::string path = path_of("layers.npy"), gates = path_of("layers_gates.npy");
  write_npy(path, {2, 3, 2}, std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 1, 0, 3, 2});
  EXPECT_EQ(read(path + ",layer=1", 2, 8, 2).expert, (std::vector<int32_t>{2, 3, 1, 0}));
  EXPECT_EQ(read(path + ",layer=2", 1, 8, 2).expert, (std::vector<int32_t>{4, 5}));
  write_npy(gates, {2, 3, 2}, [](int64_t row, std::span<float> values) {
    values[0] = static_cast<float>(row), values[1] = -1;
  });
  EXPECT_EQ(read(path + ",layer=1,gates=" + gates, 2, 8, 2).weight, (std::vector<float>{1, -1, 4, -1}));
  EXPECT_NE(refusal(path).find("3 layers"), std::string::npos);
  EXPECT_NE(refusal(path + ",layer=3").find("0 to 2"), std::string::npos);
  EXPECT_NE(refusal(path + ",layer=1,step=0").find("step"), std::string::npos);
  EXPECT_NE(refusal(path + ",layer=1,gates=" + path), "accepted");
}

TEST(Trace, SaysWhichTokensAndChoicesThereAre) {
  const std::string path = write("sizes.jsonl", line(0, 0, 0, "[[0, 1], [2, 3]]"));
  EXPECT_EQ(refusal(path), "accepted");
  EXPECT_NE(refusal(path, 3).find("use --tokens 2"), std::string::npos) << refusal(path, 3);
  EXPECT_NE(refusal(path, 2, 8, 3).find("use --topk 2"), std::string::npos);
  const std::string empty = refusal(write("empty.jsonl", line(0, 0, 0, "[]")));
  EXPECT_NE(empty.find("got 0 tokens"), std::string::npos) << empty;
  EXPECT_NE(empty.find("; record it again: it is empty"), std::string::npos) << empty;
  EXPECT_NE(refusal(path, 2, 3).find("expert 3 of token 1"), std::string::npos);
}

TEST(Trace, RefusesBadLines) {
  for (const std::string& text : bad_traces()) {
    const std::string error = refusal(write("bad.jsonl", text));
    EXPECT_EQ(error.find("--distribution trace"), 0u) << error << " of " << text.substr(0, 200);
    EXPECT_TRUE(is_refusal(error)) << error;
    EXPECT_NE(error.find("; "), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(Trace, RefusesBadArrays) {
  const std::string path = path_of("bad.npy"), gates = path_of("bad_gates.npy");
  const auto ids_of = [&](const std::vector<int64_t>& shape, const std::vector<int32_t>& ids) {
    write_npy(path, shape, ids);
    return refusal(path);
  };
  EXPECT_EQ(ids_of({2, 2}, {0, 1, 2, 3}), "accepted");
  EXPECT_NE(ids_of({4}, {0, 1, 2, 3}).find("shape (4)"), std::string::npos);
  EXPECT_NE(ids_of({1, 2, 1, 2}, {0, 1, 2, 3}).find("shape"), std::string::npos);
  EXPECT_NE(ids_of({1, 4}, {0, 1, 2, 3}).find("--topk 4"), std::string::npos);
  EXPECT_NE(ids_of({1, 2}, {0, 1}).find("--tokens 1"), std::string::npos);
  EXPECT_NE(ids_of({2, 0, 2}, {}).find("0 layers, allowed: at least one"), std::string::npos);
  EXPECT_NE(refusal(path + ",layer=0").find("0 layers, allowed: at least one"), std::string::npos);
  EXPECT_NE(ids_of({0, 2}, {}).find("0 tokens"), std::string::npos);
  EXPECT_NE(ids_of({2, 2}, {0, 1, 2, 8}).find("expert 8 of token 1"), std::string::npos);
  EXPECT_NE(ids_of({2, 2}, {0, 1, 2, -2}).find("expert -2 of token 1"), std::string::npos);
  EXPECT_NE(ids_of({2, 2}, {0, 1, 2, 2}).find("expert 2 twice in token 1"), std::string::npos);
  EXPECT_EQ(ids_of({2, 2}, {0, 1, -1, -1}), "accepted");
  const std::string with_gates = path + ",gates=" + gates;
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    write_npy(gates, {2, 2},
              [&](int64_t row, std::span<float> values) { values[0] = values[1] = row == 0 ? bad : 1; });
    EXPECT_NE(refusal(with_gates).find("of token 0"), std::string::npos) << bad;
  }
  write_npy(gates, {2, 2}, [&](int64_t, std::span<float> values) { values[0] = values[1] = 1; });
  EXPECT_EQ(refusal(with_gates), "accepted");
  write_npy(gates, {2, 1}, [&](int64_t, std::span<float> values) { values[0] = 1; });
  EXPECT_NE(refusal(with_gates).find("the shape of the ids"), std::string::npos);
  EXPECT_NE(refusal(gates).find("integers"), std::string::npos);
  EXPECT_NE(refusal(path + ",gates=/nonexistent"), "accepted");
  EXPECT_NE(refusal(write("x.jsonl", line(0, 0, 0, "[[0, 1], [2, 3]]")) + ",gates=" + gates), "accepted");
}

TEST(Trace, SaysHowOtherKindsOfFilesAreConverted) {
  EXPECT_NE(refusal(write("a.pt", std::string("PK\x03\x04\0\0\x08", 7))).find("torch.load"),
            std::string::npos);
  EXPECT_NE(refusal(write("a.pkl", "\x80\x04\x95")).find("pickle"), std::string::npos);
  EXPECT_NE(refusal(write("a.gz", "\x1f\x8b\x08")).find("gunzip"), std::string::npos);
  EXPECT_NE(refusal(write("a.parquet", "PAR1")).find("read_parquet"), std::string::npos);
  EXPECT_NE(refusal("/nonexistent").find("no such file"), std::string::npos);
  EXPECT_NE(refusal("/dev/zero").find("no regular file"), std::string::npos);
  EXPECT_NE(refusal(fresh_folder()).find("a folder"), std::string::npos);
}

TEST(Trace, LeavesNoPartOfAFile) {
  const Routing routing = route_topk(make_logits({}, 4, 4, 2, 1), 4, 4, 2);
  EXPECT_THROW(write_trace("/nonexistent/x.jsonl", routing), std::runtime_error);
  const std::string path = path_of("part.npy");
  std::filesystem::create_directory(gates_file_of(path));  // the second file cannot be written
  EXPECT_THROW(write_trace(path, routing), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace moehill
