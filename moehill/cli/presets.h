// --preset and --config: the block of a known model, or that of a config.json, as options of a command.
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

// Sets the shape and the expert form to those of `block`, except where an option of its own was given, and
// without what a block here cannot do.
void take_shape(const OptionSet& set, const ModelBlock& block, MoeShape& shape);

}  // namespace moehill
