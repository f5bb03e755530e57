// This header declares the options of `moehill bench`, each once. Other commands (tune, profile, predict,
// balance) declare parts of the same options by the functions below, so that an option has one name and one
// meaning everywhere.
//
//     const std::optional<BenchOptions> options = parse_bench_options({"--tokens", "256", "--topk", "2"});
//     if (!options) return kExitDone;   // --help was printed
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/cli/presets.h"
#include "moehill/measure/bench_options.h"
#include "moehill/store/results.h"

namespace moehill {

// Declares every option, bound to `options` and to the axes of -L, which must outlive the set.
OptionSet bench_option_set(BenchOptions& options, OptionSet::Pairs* lists);

// Fills in shape, router and expert form from --preset or --config. A single option that was given
// keeps its value. Call it after parse().
void apply_model(const OptionSet& set, BenchOptions& options);

// Returns the command line with the options that were given, without files that it writes and without
// --filter. `text` is the command's name.
std::string repro_of(const OptionSet& set, std::string text, const OptionSet::Pairs& lists = {});

// These declare parts of the set that other commands have, too.
void declare_shape(OptionSet& set, BenchOptions& options);
void declare_weights(OptionSet& set, BenchOptions& options);  // a model's weights, and the layer to take
void declare_router(OptionSet& set, BenchOptions& options);
void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions);
void declare_routing(OptionSet& set, BenchOptions& options);
void declare_devices(OptionSet& set, BenchOptions& options);
void declare_spread(OptionSet& set, BenchOptions& options);   // --parallel-mode, --ep-path and --wire
void declare_ep_path(OptionSet& set, BenchOptions& options);  // --ep-path and --wire
// Declares --devices and --threads-per-device. `otherwise` is what the help says for the case that they are
// not given.
void declare_layout(OptionSet& set, BenchOptions& options, const std::string& otherwise);
void declare_mesh(OptionSet& set, MeshKind* mesh, double* timeout_s);
// Declares --timeout. `timeout_s` stays 0 unless the option is given. The limit holds from the moment the
// option is parsed.
void declare_timeout(OptionSet& set, double* timeout_s);

// Reads the options of one point from a text such as "topk=2 shared_fused", in which names are spelled as in
// an experiment file. Returns names and values. A flag without a value is "true".
OptionSet::Pairs options_of_point(const std::string& text);
// Returns the option as an argument: "--topk=2". A flag stands alone; one that is false is left out ("").
std::string argument_of(const std::string& name, const std::string& value);

// Parses, applies the preset, and throws InputError for contradictions and for flags without effect. Returns
// nothing if help was printed.
std::optional<BenchOptions> parse_bench_options(const std::vector<std::string>& args);

// Returns the options that were given, as an experiment file writes them; a flag is `true`.
StoredJson given_bench_options(const std::vector<std::string>& args);

// Throws InputError for --layer without --weights and without --config.
void refuse_layer_alone(const BenchOptions& options);

// Declares --blocks and --table.
void declare_blocks_options(OptionSet& set, BenchOptions& options);
// Throws InputError for --table beside --blocks, for --table with a backend that has no blocks, and for a
// file that does not exist.
void refuse_useless_table(const BenchOptions& options);

}  // namespace moehill
