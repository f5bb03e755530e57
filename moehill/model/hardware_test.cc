// Tests of hardware files: the shipped files load, a written file is read back unchanged, and errors name the
// line.
#include "moehill/model/hardware.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

const char* const kSmall = R"(
name = "two"
unit = "core"
[peak_flops]
f32 = 1e11
bf16 = 1e11
[memory]
bytes_per_s = 1e10
node_bytes_per_s = 2e10
bytes = 1e9
[topology]
kind = "node"
devices_per_node = 2
levels = [{name = "memory", latency_s = 1e-6, bytes_per_s = 5e9}]
[[gemm]]
dtype = "bf16"
k = 64
n = 32
rows = [1, 10]
forward = [0.1, 0.5]
input_grad = [0.1, 0.4]
weight_grad = [0.1, 0.3]
)";

std::string error_of(const std::string& toml) {
  try {
    read_hardware_text(toml, "f.toml");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Hardware, EveryShippedFileLoads) {
  int num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MOEHILL_SOURCE_DIR "/hardware")) {
    if (entry.path().extension() != ".toml") continue;
    const Hardware h = load_hardware(entry.path().string());
    EXPECT_EQ(h.name, entry.path().stem().string());
    EXPECT_FALSE(h.source.empty()) << h.name;
    EXPECT_FALSE(h.efficiency_source.empty()) << h.name;
    EXPECT_LE(h.memory_bytes_per_s, h.node_memory_bytes_per_s) << h.name;
    ++num_files;
  }
  EXPECT_GE(num_files, 3);
  EXPECT_EQ(load_hardware("tpu-v5p").topology.devices_per_node, 4);
}

TEST(Hardware, ShippedFiguresHaveASourceOnTheirLine) {
  const std::regex rate("= [0-9.]+e[+]?[0-9]+|= \\[[0-9.]+e"), number("= [\\[0-9]");
  for (const std::string name : {"tpu-v5p", "h100-node", "epyc-cluster", "epyc-2-core"}) {
    const bool measured = name == "epyc-2-core";
    std::ifstream file(std::string(MOEHILL_SOURCE_DIR "/hardware/") + name + ".toml");
    int line_number = 0;
    for (std::string line; std::getline(file, line);) {
      ++line_number;
      const bool figure = std::regex_search(line, measured ? number : rate);
      if (figure && line[0] != '#') {
        EXPECT_NE(line.find(" #"), std::string::npos) << name << ":" << line_number;
      }
    }
  }
}

TEST(Hardware, CurvesOfASingleGroupAreKept) {
  Hardware h = load_hardware("epyc-cluster");
  h.gemm.push_back(h.gemm.front());
  h.gemm.front().one_group = true;
  const Hardware read = read_hardware_text(hardware_toml(h, {}), "f");
  EXPECT_TRUE(read.gemm.front().one_group);
  EXPECT_FALSE(read.gemm.back().one_group);
}

TEST(Hardware, WrittenIsReadBackAsTheSame) {
  for (const std::string& name : {std::string("epyc-cluster"), std::string("tpu-v5p")}) {
    const Hardware h = load_hardware(name);
    const std::string text = hardware_toml(h, {"a comment"});
    EXPECT_EQ(hardware_toml(read_hardware_text(text, "f"), {"a comment"}), text);
  }
  const Hardware h = read_hardware_text(kSmall, "f");
  EXPECT_EQ(h.gemm[0].fraction[2][1], 0.3);
  EXPECT_EQ(h.topology.levels[0].latency_s, 1e-6);
}

TEST(Hardware, MistakesNameFileLineAndKey) {
  EXPECT_NE(error_of(with(kSmall, "f32 = 1e11", "f23 = 1e11")).find("f32"), std::string::npos);
  const std::string unknown = error_of(with(kSmall, "unit =", "uint ="));
  EXPECT_NE(unknown.find("f.toml:3"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("did you mean unit?"), std::string::npos) << unknown;
  EXPECT_NE(error_of(with(kSmall, "\"node\"", "\"mesh\"")).find("fat-tree"), std::string::npos);
  EXPECT_NE(error_of(with(kSmall, "\"node\"", "\"fat-tree\"")).find("two at least"), std::string::npos);
  EXPECT_NE(error_of(with(kSmall, "[1, 10]", "[10, 1]")).find("rising"), std::string::npos);
  EXPECT_NE(error_of(with(kSmall, "[0.1, 0.3]", "[0.1]")).find("weight_grad"), std::string::npos);
  EXPECT_NE(error_of(with(kSmall, "bytes = 1e9", "bytes = 0")).find("a number from 1e+06 to"),
            std::string::npos);
  EXPECT_NE(error_of("name = ").find("f.toml:1"), std::string::npos);
  try {
    load_hardware("no-such-machine");
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("tpu-v5p"), std::string::npos) << message;
    EXPECT_EQ(message.find("tuned"), std::string::npos)
        << message;  // a table beside them that is no hardware
  }
}

// A simulation asks for a product's time again and again, and goes through all curves each time.
TEST(Hardware, ListsHaveAnEnd) {
  std::string numbers, tables;
  for (int i = 0; i < 4097; ++i) numbers += fmt::format("{}{}", i == 0 ? "" : ", ", i + 1);
  for (int i = 0; i < 4096; ++i) tables += "[[gemm]]\n";
  const std::string curve = error_of(with(kSmall, "[1, 10]", "[" + numbers + "]"));
  EXPECT_NE(curve.find("gemm.rows = 4097 entries, allowed: at most 4096"), std::string::npos) << curve;
  const std::string curves = error_of(kSmall + tables);
  EXPECT_NE(curves.find("gemm = 4097 entries, allowed: at most 4096"), std::string::npos) << curves;
}

// Sizes that the kind does not have would be dropped without a word.
TEST(Hardware, DimsAreTheSizesOfTheirKind) {
  const std::string network = "}, {name = \"net\", latency_s = 1e-6, bytes_per_s = 1e9}]";
  const auto error_with = [&](const std::string& kind, const std::string& dims) {
    return error_of(with(with(with(kSmall, "5e9}]", "5e9" + network), "\"node\"", "\"" + kind + "\""),
                         "devices_per_node = 2", "devices_per_node = 2\ndims = " + dims));
  };
  EXPECT_NE(error_with("node", "[2]").find("none with the kind node"), std::string::npos);
  for (const char* dims : {"[]", "[4]", "[4, 2]"}) EXPECT_EQ(error_with("fat-tree", dims), "") << dims;
  EXPECT_NE(error_with("fat-tree", "[4, 2, 2]").find("leaf switch"), std::string::npos);
  for (const char* dims : {"[]", "[4, 4, 2]"}) EXPECT_EQ(error_with("dragonfly", dims), "") << dims;
  EXPECT_NE(error_with("dragonfly", "[4, 4]").find("three"), std::string::npos);
  for (const char* dims : {"[]", "[4]", "[2, 2, 1]"}) EXPECT_EQ(error_with("torus", dims), "") << dims;
}

// A folder that looks like the one of the sources, or a file with a shipped name, does not replace the
// shipped hardware; a path to it does.
TEST(Hardware, NamesDoNotDependOnTheCurrentFolder) {
  const std::filesystem::path folder = fresh_folder(), old = std::filesystem::current_path();
  std::filesystem::create_directory(folder / "hardware");
  for (const char* name : {"hardware/epyc-cluster.toml", "epyc-cluster", "hardware/mine.toml"})
    std::ofstream(folder / name) << with(kSmall, "\"two\"", "\"mine\"");
  std::filesystem::current_path(folder);
  EXPECT_EQ(load_hardware("epyc-cluster").name, "epyc-cluster");
  EXPECT_EQ(load_hardware("./epyc-cluster").name, "mine");
  EXPECT_EQ(load_hardware("hardware/epyc-cluster.toml").name, "mine");
  EXPECT_THROW(load_hardware("mine"), InputError);
  setenv("MOEHILL_HARDWARE", "hardware", 1);
  EXPECT_EQ(load_hardware("mine").name, "mine");
  EXPECT_EQ(load_hardware("epyc-cluster").name, "mine");
  EXPECT_EQ(load_hardware("tpu-v5p").name, "tpu-v5p");
  // A mistyped folder must not make a name mean another file.
  for (const char* other : {"hardwares", "hardware/mine.toml"}) {
    setenv("MOEHILL_HARDWARE", other, 1);
    EXPECT_THROW(load_hardware("epyc-cluster"), InputError) << other;
  }
  // An empty variable is none: it does not name the current folder.
  std::ofstream(folder / "mine.toml") << with(kSmall, "\"two\"", "\"mine\"");
  setenv("MOEHILL_HARDWARE", "", 1);
  EXPECT_THROW(load_hardware("mine"), InputError);
  unsetenv("MOEHILL_HARDWARE");
  std::filesystem::current_path(old);
}

TEST(Hardware, WithoutAPeakOfBf16ItIsThatOfF32) {
  const Hardware h = read_hardware_text(
      with(with(kSmall, "bf16 = 1e11", ""), "f32 = 1e11", "f32 = 2e11\nf32_instruction = \"avx2 fma\""), "f");
  EXPECT_EQ(h.peak(DType::bf16), 2e11);
  EXPECT_EQ(h.instruction(DType::bf16), "avx2 fma");
}

TEST(Hardware, PeaksAndTheirInstructionsAreKeptApart) {
  Hardware h = read_hardware_text(kSmall, "f");
  h.peak_bf16 = 4e11;
  h.f32_instruction = "avx512f fma";
  h.bf16_instruction = "avx512_bf16 vdpbf16ps";
  const Hardware read = read_hardware_text(hardware_toml(h, {}), "f");
  EXPECT_EQ(read.peak(DType::bf16), 4e11);
  EXPECT_EQ(read.peak(DType::f32), 1e11);
  EXPECT_EQ(read.instruction(DType::bf16), h.bf16_instruction);
  EXPECT_EQ(read.instruction(DType::f32), h.f32_instruction);
}

// Lists every key that takes a number, with the range of its values.
const char* const kFull = R"(name = "all"
unit = "core"
units_per_device = 2
[peak_flops]
f32 = 1e11
bf16 = 2e11
[memory]
bytes_per_s = 1e10
node_bytes_per_s = 2e10
bytes = 1e9
[[cache]]
name = "L3"
bytes = 1048576
units = 2
[topology]
kind = "torus"
devices_per_node = 2
max_devices = 16
dims = [4, 4]
[[topology.levels]]
name = "memory"
latency_s = 1e-6
bytes_per_s = 5e9
[costs]
gather_bytes_per_s = 1e9
combine_bytes_per_s = 1e9
swiglu_bytes_per_s = 1e9
zero_bytes_per_s = 1e9
plan_s_per_assignment = 1e-8
barrier_s = 1e-6
start_s = 1e-5
stage_s = 1e-6
[[gemm]]
k = 64
n = 32
units = 1
groups = 1
rows = [1, 10]
forward = [0.1, 0.5]
input_grad = [0.1, 0.4]
weight_grad = [0.1, 0.3]
[[collective]]
op = "all_reduce"
devices = 2
bytes = [1000, 2000]
seconds = [1e-5, 2e-5]
)";

const std::vector<std::string> kNoNumber = {"nan", "inf", "-inf", "-1", "\"1\"", "[1]", "true"};
const std::vector<std::string> kNoCount = {"0", "1.5", "2000000"};
const std::vector<std::string> kNoRate = {"0", "1e4", "1e16", "1e30"};
const std::vector<std::string> kNoTime = {"1e-13", "2", "3600"};

// The values in `refused` are refused for the key of `line`, in addition to kNoNumber.
struct KeyCase {
  std::string line;
  std::vector<std::string> refused;
};
const std::vector<KeyCase> kKeys = {
    {"units_per_device = 2", kNoCount},
    {"f32 = 1e11", {"0", "100", "1e18", "1e30"}},
    {"bf16 = 2e11", {"0", "100", "1e18", "1e30"}},
    {"bytes_per_s = 1e10", kNoRate},
    {"node_bytes_per_s = 2e10", {"0", "9e9", "1e16", "1e30"}},  // 9e9 is less than one unit has
    {"bytes = 1e9", {"0", "1000", "1e17", "1e30"}},
    {"bytes = 1048576", {"0", "32", "1e14", "1e30"}},
    {"units = 2", kNoCount},
    {"devices_per_node = 2", {"0", "1.5", "4097", "2000000"}},
    {"max_devices = 16", {"1.5", "2000000"}},
    {"dims = [4, 4]",
     {"[0, 4]", "[4, 1.5]", "[4, 2000000]", "[257, 256]", "[65536, 65536]", "[nan]", "[inf]", "4"}},
    {"latency_s = 1e-6", kNoTime},
    {"bytes_per_s = 5e9", kNoRate},
    {"gather_bytes_per_s = 1e9", {"1e4", "1e16", "1e30"}},
    {"combine_bytes_per_s = 1e9", {"1e4", "1e16", "1e30"}},
    {"swiglu_bytes_per_s = 1e9", {"1e4", "1e16", "1e30"}},
    {"zero_bytes_per_s = 1e9", {"1e4", "1e16", "1e30"}},
    {"plan_s_per_assignment = 1e-8", {"1e-16", "0.01", "1"}},
    {"barrier_s = 1e-6", kNoTime},
    {"start_s = 1e-5", {"1e-13", "11", "3600"}},
    {"stage_s = 1e-6", kNoTime},
    {"k = 64", kNoCount},
    {"n = 32", kNoCount},
    {"units = 1", kNoCount},
    {"groups = 1", {"0", "2", "1.5"}},
    {"rows = [1, 10]", {"[0, 10]", "[10, 1]", "[1, 1]", "[1, 1e13]", "[1, nan]", "[]", "1"}},
    {"forward = [0.1, 0.5]", {"[0.1]", "[0, 0.5]", "[0.1, 1.2]", "[0.1, 9]", "[nan, 0.5]", "0.1"}},
    {"input_grad = [0.1, 0.4]", {"[0.1]", "[0, 0.5]", "[0.1, 1.2]", "[0.1, 9]", "[nan, 0.5]", "0.1"}},
    {"weight_grad = [0.1, 0.3]", {"[0.1]", "[0, 0.5]", "[0.1, 1.2]", "[0.1, 9]", "[nan, 0.5]", "0.1"}},
    {"devices = 2", kNoCount},
    {"bytes = [1000, 2000]", {"[2000, 1000]", "[0, 2000]", "[1000, 1e16]", "[1000, nan]", "[]", "1"}},
    {"seconds = [1e-5, 2e-5]", {"[1e-5]", "[0, 1]", "[1e-5, 1e6]", "[1e-10, 1]", "[1e-5, nan]", "[]", "1"}},
};

// Returns the number (from 1) of the line of kFull that is exactly `line`; 0: there is none.
int line_of(const std::string& line) {
  std::istringstream lines(kFull);
  int number = 1;
  for (std::string text; std::getline(lines, text); ++number) {
    if (text == line) return number;
  }
  return 0;
}

TEST(Hardware, FiguresOutOfTheirBoundsAreRefusedForEveryKey) {
  EXPECT_EQ(error_of(kFull), "");
  for (const KeyCase& key : kKeys) {
    const std::string name = key.line.substr(0, key.line.find(' '));
    const bool list = key.line.find('[') != std::string::npos;
    std::vector<std::string> refused = key.refused;
    if (!list) refused.insert(refused.end(), kNoNumber.begin(), kNoNumber.end());
    for (const std::string& value : refused) {
      const std::string error =
          error_of(with(kFull, "\n" + key.line + "\n", "\n" + name + " = " + value + "\n"));
      SCOPED_TRACE(key.line + " as " + value + ": " + error);
      EXPECT_NE(error.find(name), std::string::npos);                // what
      EXPECT_NE(error.find("correct the file"), std::string::npos);  // remedy
      EXPECT_NE(error.find(fmt::format("f.toml:{}", line_of(key.line))), std::string::npos);
    }
  }
}

TEST(Hardware, EveryKeyWithANumberHasItsCase) {
  std::istringstream lines(kFull);
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_search(line, std::regex("= [\\[0-9]"))) continue;
    const bool known =
        std::any_of(kKeys.begin(), kKeys.end(), [&](const KeyCase& k) { return k.line == line; });
    EXPECT_TRUE(known) << line;
  }
  // Checks that kFull has every key that a written file may have.
  Hardware h = read_hardware_text(kFull, "f");
  std::istringstream written(hardware_toml(h, {}));
  for (std::string line; std::getline(written, line);) {
    const size_t equals = line.find(" = ");
    if (equals == std::string::npos || line[equals + 3] == '"') continue;
    EXPECT_NE(std::string(kFull).find("\n" + line.substr(0, equals + 3)), std::string::npos) << line;
  }
}

TEST(Hardware, WhatIsWrittenCanBeReadWhateverTheNamesAndFigures) {
  Hardware h = read_hardware_text(kFull, "f");
  h.name = "a\"b\\c\x7f\x01\n";
  h.gemm[0].rows = {1000000.25, 1000000.5};
  h.collectives[0].bytes = {1000000.25, 1000000.5};
  const Hardware read = read_hardware_text(hardware_toml(h, {}), "f");
  EXPECT_EQ(read.name, "a\"b\\c   ");
  EXPECT_EQ(read.gemm[0].rows, h.gemm[0].rows);
  EXPECT_EQ(read.collectives[0].bytes, h.collectives[0].bytes);
}

TEST(Hardware, ACollectiveNobodyHasIsRefused) {
  const std::string error = error_of(with(kFull, "\"all_reduce\"", "\"all_sum\""));
  EXPECT_NE(error.find("all_sum"), std::string::npos) << error;
  EXPECT_NE(error.find("all_to_all"), std::string::npos) << error;
}

}  // namespace
}  // namespace moehill
