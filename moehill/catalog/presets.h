// Presets: known models by name, each a file with the keys of its config.json that its block needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/catalog/model_block.h"

namespace moehill {

struct Preset {
  std::string name;
  std::string source;  // where the configuration is from
  ModelBlock block;
  // The file says that all parts a block here does not have are known to be left out: then the model's shape
  // is run all the same, and whoever runs it says without what.
  bool runs_without_left_out = false;
};

// The files that come with the program and those of $MOEHILL_MODELS, by name.
std::vector<std::string> preset_names();
// Throws InputError for an unknown name (it suggests the nearest) and for a file that makes no sense.
Preset load_preset(const std::string& name);
// The text of a preset's file: {"source": .., "config": {..}, "left_out": [key, ..]}.
Preset read_preset(const std::string& text, const std::string& name);
// Throws InputError as refuse_left_out() does, unless the preset runs without.
void refuse_left_out(const Preset& preset);
// "clamped SwiGLU (swiglu_limit 7), ..": what a run of it is without; empty for a whole block.
std::string left_out_words(const ModelBlock& block);

}  // namespace moehill
