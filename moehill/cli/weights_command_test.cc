// Tests of --weights from end to end: the program benches and checks models that are written as files, and
// refuses bad files.
#include <algorithm>

#include "moehill/cli/command_fixture.h"
#include "moehill/weights/files_fixture.h"

namespace moehill {
namespace {

using namespace testing_models;
using nlohmann::json;

std::string options_of(const ModelShape& s) {
  return fmt::format(
      "bench --tokens 24 --topk 2 --iters 1 --warmup 0 --hidden {} --mlp-dim {} --experts {} "
      "--shared-expert-dim {} ",
      s.hidden, s.mlp_dim, s.experts, s.shared_dim);
}

// Returns the values of a .npy file of f32, in the order of the file.
std::vector<float> npy_values(const fs::path& path) {
  const std::string bytes = contents(path);
  uint16_t header = 0;
  std::memcpy(&header, bytes.data() + 8, 2);
  std::vector<float> values((bytes.size() - 10 - header) / 4);
  std::memcpy(values.data(), bytes.data() + 10 + header, 4 * values.size());
  return values;
}

struct Case {
  Family family;
  Encoding encoding;
  ModelShape shape;
  std::string options;
};

// The program dumps the gate, which was written as [M][H] for each expert, as W1 with [E][H][M].
void expect_dumped(const fs::path& dump, const Model& model, const ModelShape& s) {
  const std::vector<float> w1 = npy_values(dump / "w1.npy"), w2 = npy_values(dump / "w2.npy");
  ASSERT_EQ(std::ssize(w1), s.experts * s.hidden * s.mlp_dim);
  int num_wrong = 0;
  for (int64_t e = 0; e < s.experts; ++e) {
    for (int64_t h = 0; h < s.hidden; ++h) {
      for (int64_t m = 0; m < s.mlp_dim; ++m) {
        const auto value = [&](int matrix, int64_t at) {
          return static_cast<float>(
              model.values[static_cast<size_t>(3 * e + matrix)][static_cast<size_t>(at)]);
        };
        num_wrong +=
            w1[static_cast<size_t>((e * s.hidden + h) * s.mlp_dim + m)] != value(0, m * s.hidden + h);
        num_wrong +=
            w2[static_cast<size_t>((e * s.mlp_dim + m) * s.hidden + h)] != value(2, h * s.mlp_dim + m);
      }
    }
  }
  EXPECT_EQ(num_wrong, 0);
}

TEST(WeightsCommand, ModelsInTwoShardsAreBenchedAndChecked) {
  const std::vector<Case> cases = {
      {Family::qwen, Encoding::bf16, {48, 40, 4, 24}, "--dtype f32 --bench-pass forward_backward"},
      {Family::mixtral, Encoding::f16, {40, 72, 4, 0}, "--dtype f32 --backend ragged_dot"},
      {Family::deepseek,
       Encoding::f8_e4m3,
       {160, 136, 4, 40},
       "--dtype f32 --parallel-mode ep --devices 2 --layer 1"},
      {Family::gpt_oss, Encoding::mxfp4, {64, 96, 4, 0}, "--dtype f32 --impl baseline"},
      {Family::kimi_int4, Encoding::int4, {64, 32, 4, 0}, "--dtype f32 --parallel-mode dp --devices 2"},
      {Family::llama4, Encoding::bf16, {48, 40, 4, 24}, "--dtype f32 --impl fast"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.options);
    const fs::path folder = fresh_folder(), model_folder = folder / "model";
    fs::create_directory(model_folder);
    const Model model = make_model(c.family, c.shape, c.encoding);
    write_shards(model_folder, model.tensors, 2);
    const Outcome outcome = run_program(
        folder, options_of(c.shape) + c.options + " --weights " + model_folder.string() + " --json " +
                    (folder / "r.jsonl").string() + " --dump " + (folder / "dump").string());
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const json record = json::parse(contents(folder / "r.jsonl"));
    EXPECT_EQ(record["check"]["status"], "passed");
    EXPECT_EQ(record["config"]["weights"], model_folder.string());
    EXPECT_EQ(record["loading"]["encoding"], name_of(c.encoding));
    EXPECT_EQ(record["loading"]["layer"], model.layer);
    EXPECT_EQ(record["loading"]["rounding"], 0);
    EXPECT_EQ(record["hash"]["weights"].get<std::string>().size(), 16u);
    EXPECT_NE(outcome.out.find("weights: layer "), std::string::npos) << outcome.out;
    expect_dumped(folder / "dump", model, c.shape);
  }
}

TEST(WeightsCommand, BfloatRunsStateTheErrorOfRounding) {
  const fs::path folder = fresh_folder();
  const ModelShape shape{160, 136, 4, 0};
  write_file(folder / "m.safetensors",
             safetensors(make_model(Family::deepseek, shape, Encoding::f8_e4m3).tensors));
  const Outcome outcome = run_program(folder, options_of(shape) + "--parallel-mode both --weights " +
                                                  (folder / "m.safetensors").string() + " --json -");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  int num_records = 0;
  for (std::string line; std::getline(lines, line); ++num_records) {
    const json record = json::parse(line);
    EXPECT_EQ(record["check"]["status"], "passed");
    EXPECT_GT(record["loading"]["rounding"], 0x1p-12);
    EXPECT_LE(record["loading"]["rounding"], 0x1p-8);
    EXPECT_GT(record["loading"]["gbps"], 0);
  }
  EXPECT_EQ(num_records, 2);
}

TEST(WeightsCommand, ProfileReadsThemToo) {
  const fs::path folder = fresh_folder();
  const ModelShape shape{64, 96, 4, 0};
  write_shards(folder, make_model(Family::gpt_oss, shape, Encoding::mxfp4).tensors, 2);
  const Outcome outcome = run_program(
      folder, "profile --tokens 24 --topk 2 --iters 1 --hidden 64 --mlp-dim 96 --experts 4 --weights " +
                  folder.string() + " --json -");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out.substr(0, outcome.out.find('\n')))["loading"]["encoding"], "mxfp4");
}

TEST(WeightsCommand, ARunWithoutThemHasNothingOfThemInItsRecord) {
  const fs::path folder = fresh_folder();
  const Outcome outcome = run_program(folder, options_of({32, 32, 4, 0}) + "--json -");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json record = json::parse(outcome.out);
  EXPECT_FALSE(record.contains("loading"));
  EXPECT_FALSE(record["config"].contains("weights"));
  EXPECT_FALSE(record["config"].contains("layer"));
  EXPECT_FALSE(record["hash"].contains("weights"));
}

TEST(WeightsCommand, EveryBadFileIsOneLineAndStatusTwoAndLeavesNothing) {
  for (const BadFile& bad : all_bad_files()) {
    const fs::path folder = fresh_folder(), files = folder / "files", results = folder / "results";
    fs::create_directories(files);
    fs::create_directories(results);
    const fs::path path = bad.write(files);
    const Outcome outcome =
        run_in_child(folder, options_of({kBadShape.hidden, kBadShape.mlp_dim, kBadShape.experts, 0}) +
                                 "--weights " + path.string() + " --json " + (results / "r.jsonl").string() +
                                 " --dump " + (results / "dump").string());
    EXPECT_EQ(outcome.status, 2) << bad.name << ": " << outcome.err;
    EXPECT_EQ(outcome.err.find("moehill: "), 0u) << bad.name << ": " << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << bad.name << ": " << outcome.err;
    expect_message(bad, outcome.err.substr(0, outcome.err.find('\n')));
    EXPECT_TRUE(fs::is_empty(results)) << bad.name;
  }
}

TEST(WeightsCommand, ALayerAloneAndAnotherShapeAreRefused) {
  const fs::path folder = fresh_folder();
  write_file(folder / "m.safetensors", safetensors(bad_base().tensors));
  const std::string path = " --weights " + (folder / "m.safetensors").string();
  const Outcome alone = run_program(folder, options_of({32, 32, 2, 0}) + "--layer 3");
  EXPECT_EQ(alone.status, 2);
  EXPECT_NE(alone.err.find("--layer needs --weights"), std::string::npos) << alone.err;
  const Outcome other = run_program(folder, options_of({64, 32, 2, 0}) + path);
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("use --mlp-dim 32 --hidden 32"), std::string::npos) << other.err;
  const Outcome layer = run_program(folder, options_of({32, 32, 2, 0}) + path + " --layer 9");
  EXPECT_EQ(layer.status, 2);
  EXPECT_NE(layer.err.find("--layer: got 9, allowed: a layer with experts: 0;"), std::string::npos)
      << layer.err;
}

}  // namespace
}  // namespace moehill
