// The options of `moehill bench`, declared once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/cli/presets.h"
#include "moehill/measure/bench_options.h"

namespace moehill {

// Declares every option, bound to `options` and to the axes of -L, which must outlive the set.
OptionSet bench_option_set(BenchOptions& options, OptionSet::Pairs* lists);

// Shape, router and expert form of --preset or --config, but for what was given by its own option.
void apply_model(const OptionSet& set, BenchOptions& options);

// Returns a command with the options that were given, without files that it writes and without --filter:
// `text` is its name.
std::string repro_of(const OptionSet& set, std::string text, const OptionSet::Pairs& lists = {});

// Parts of it that other commands have too.
void declare_shape(OptionSet& set, BenchOptions& options);
void declare_weights(OptionSet& set, BenchOptions& options);  // of a model, and their layer
void declare_router(OptionSet& set, BenchOptions& options);
void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions);
void declare_routing(OptionSet& set, BenchOptions& options);
void declare_devices(OptionSet& set, BenchOptions& options);
void declare_spread(OptionSet& set, BenchOptions& options);  // mode and path
// --devices and --threads-per-device, which are `otherwise` where they are not given.
void declare_layout(OptionSet& set, BenchOptions& options, const std::string& otherwise);
void declare_mesh(OptionSet& set, MeshKind* mesh, double* timeout_s);
// `timeout_s`: 0 unless it is given. The limit holds from the moment it is read.
void declare_timeout(OptionSet& set, double* timeout_s);

// Parses, applies the preset and refuses contradictions and flags without effect. Returns nothing when help
// was printed.
std::optional<BenchOptions> parse_bench_options(const std::vector<std::string>& args);

// Throws InputError for --layer without --weights and --config.
void refuse_layer_alone(const BenchOptions& options);

// --blocks and --table.
void declare_blocks_options(OptionSet& set, BenchOptions& options);
// Throws InputError for --table beside --blocks, with a backend without blocks, or for a file that is not
// there.
void refuse_useless_table(const BenchOptions& options);

}  // namespace moehill
