// Hardware files: what is shipped loads, a file written reads back as the same, and mistakes name their
// place.
#include "moehill/model/hardware.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "moehill/base/error.h"

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
  EXPECT_NE(error_of(with(kSmall, "bytes = 1e9", "bytes = 0")).find("above 0"), std::string::npos);
  EXPECT_NE(error_of("name = ").find("f.toml:1"), std::string::npos);
  try {
    load_hardware("no-such-machine");
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("tpu-v5p"), std::string::npos) << message;
    EXPECT_EQ(message.find("tuned"), std::string::npos) << message;  // a table beside them, no hardware
  }
}

}  // namespace
}  // namespace moehill
