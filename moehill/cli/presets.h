// --preset and --config: a known model's block, or that of a config.json, as options of a command.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/catalog/presets.h"
#include "moehill/cli/option_set.h"

namespace moehill {

void declare_preset(OptionSet& set, std::string* preset);
void declare_config(OptionSet& set, std::string* config);
// Refuses what the block does not do.
void declare_expert_form(OptionSet& set, ExpertForm* form);

// The block that was asked for by --preset or --config; nothing where neither was. Throws InputError for
// both, and for what a block here does not have. `layer` is of `config`.
std::optional<ModelBlock> chosen_model(const std::string& preset, const std::string& config = "",
                                       std::optional<int64_t> layer = {});

// The shape and the expert form of that block, but for what was given by its own option and what the block
// does not do.
void take_shape(const OptionSet& set, const ModelBlock& block, MoeShape& shape);

}  // namespace moehill
