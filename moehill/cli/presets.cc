#include "moehill/cli/presets.h"

namespace moehill {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {"qwen1.5-moe-a2.7b", 2048, 1408, 60, 4, 5632}, {"qwen2-57b-a14b", 3584, 2560, 64, 8, 20480},
      {"qwen3-30b-a3b", 2048, 768, 128, 8, 0},        {"qwen3-235b-a22b", 4096, 1536, 128, 8, 0},
      {"mixtral-8x7b", 4096, 14336, 8, 2, 0},         {"mixtral-8x22b", 6144, 16384, 8, 2, 0},
      {"olmoe-1b-7b", 2048, 1024, 64, 8, 0},          {"deepseek-moe-16b", 2048, 1408, 64, 6, 2816},
      {"deepseek-v2-lite", 2048, 1408, 64, 6, 2816},  {"deepseek-v2", 5120, 1536, 160, 6, 3072},
      {"deepseek-v3", 7168, 2048, 256, 8, 2048},      {"gpt-oss-20b", 2880, 2880, 32, 4, 0},
      {"gpt-oss-120b", 2880, 2880, 128, 4, 0},        {"phi-3.5-moe", 4096, 6400, 16, 2, 0},
  };
  return table;
}

void declare_preset(OptionSet& set, std::string* preset) {
  std::vector<std::string> names;
  for (const Preset& known : presets()) names.push_back(known.name);
  set.text_choice("--preset", preset, names, "block of a known model; single options override it");
}

}  // namespace moehill
