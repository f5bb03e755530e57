// This header declares --preset and --config, which take the block of a known model or of a config.json.
//
//     declare_preset(set, &preset);
//     if (!set.parse(args)) return kExitDone;
//     if (const auto block = chosen_model(preset)) take_shape(set, *block, shape);   // single options win
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/catalog/presets.h"
#include "moehill/cli/option_set.h"

namespace moehill {

void declare_preset(OptionSet& set, std::string* preset);
void declare_config(OptionSet& set, std::string* config);
// Declares --expert-form, which refuses forms that are not built.
void declare_expert_form(OptionSet& set, ExpertForm* form);

// Returns the block that --preset or --config names; nothing if neither was given. Throws InputError for both
// at once, and for a model with parts that a block here does not have. `layer` is a layer of `config`.
std::optional<ModelBlock> chosen_model(const std::string& preset, const std::string& config = "",
                                       std::optional<int64_t> layer = {});

// Sets the shape and the expert form from `block`, without what a block here cannot do. A single option
// that was given keeps its value.
void take_shape(const OptionSet& set, const ModelBlock& block, MoeShape& shape);

}  // namespace moehill
