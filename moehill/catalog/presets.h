// Presets are known models by name. Each preset is a file with those keys of the model's config.json that its
// block needs.
//
//   const Preset preset = load_preset("qwen3-30b-a3b");   // --preset qwen3-30b-a3b
//   preset.block.shape;
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/catalog/model_block.h"

namespace moehill {

// Preset is a preset that has been read.
struct Preset {
  std::string name;
  std::string source;  // where the configuration comes from
  ModelBlock block;
  // The file may list the parts that a block of this library does not have. Then the model's shape is run all
  // the same, and the run says what it leaves out.
  bool runs_without_left_out = false;
};

// Returns the names of the presets that come with the program and of those in $MOEHILL_MODELS.
std::vector<std::string> preset_names();
// Throws InputError for an unknown name (with the nearest one as a suggestion) and for a file that makes no
// sense.
Preset load_preset(const std::string& name);
// Reads the text of a preset's file: {"source": .., "config": {..}, "left_out": [key, ..]}.
Preset read_preset(const std::string& text, const std::string& name);
// Throws InputError as refuse_left_out() of the block does, unless the preset may run without these parts.
void refuse_left_out(const Preset& preset);
// Returns what a run of this block leaves out, such as "clamped SwiGLU (swiglu_limit 7), ..."; "" for a whole
// block.
std::string left_out_words(const ModelBlock& block);

}  // namespace moehill
