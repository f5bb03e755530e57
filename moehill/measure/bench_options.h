// BenchOptions are the options of the commands that measure blocks: the axes of their points, and how points
// are measured. The command line fills it (cli/bench_options.h); measure/points.h makes points of it.
//
//     BenchOptions options;
//     options.topk_list = {2, 4, 8};
//     options.modes = {ParallelMode::none, ParallelMode::ep};
//     expand_points(options, num_cores);   // 6 points
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moehill/record/recorded_config.h"
#include "moehill/routing/distribution.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

class CheckedResults;

// TableChoice says where tuned block sizes come from. `automatic` looks into this user's table.
enum class TableChoice { automatic, off, file };
constexpr auto words(TableChoice) { return std::array{"auto", "off", "FILE"}; }

// BenchOptions holds the options as given, with defaults filled in. The default shape is the block of
// qwen1.5-moe-a2.7b.
struct BenchOptions : MeasuringOptions {
  std::string preset, config;            // a known model; or a model's config.json
  std::vector<std::string> model_notes;  // what the block lacks of the model, and what was assumed
  MoeShape shape{4096, 2048, 1408, 60, 4, 5632};
  bool router_given = false;       // set by --router, and not by a preset
  bool tokens_auto = false;        // --tokens auto (measure/auto_tokens.h)
  std::vector<int64_t> topk_list;  // empty: only shape.topk
  std::vector<DistributionOptions> distributions = {{}};
  double run_alpha = DistributionOptions{}.run_alpha;
  double run_noise_scale = DistributionOptions{}.run_noise_scale;
  BlockOptions block;  // of every point, except for the lists below
  std::vector<Impl> impls = {Impl::fused_w13};
  std::vector<QueueMode> queue_modes = {QueueMode::full};
  std::vector<ParallelMode> modes = {ParallelMode::none};
  std::optional<Spread> ep_path;  // empty: chosen
  Wire wire = Wire::native;       // ep: the type of rows between nodes
  SharedPlacement shared_placement = SharedPlacement::sliced;
  std::string placement;             // ep: as given by --placement; empty: none
  std::optional<Switch> split_rows;  // empty: chosen, see cli/block_command.h
  int64_t waves = 0;  // ep by fused: waves of experts, whose rows travel by messages; 0: chosen
  int64_t devices = 0, threads_per_device = 0, none_threads = 0;  // 0: from the cores, see points.h
  // The devices of one process act as if they were on this many nodes; 0: a single one.
  int64_t nodes = 0;
  int64_t ranks_per_node = 0;       // the most, in a job of several nodes
  double timeout_s = 0;             // for waiting on other processes; 0: chosen
  bool climbed = false;             // add the options that `moehill climb` found for the problem
  std::vector<Ablation> ablations;  // each point gets an arm for each of these
  // Times computation and communication alone beside each step of several devices.
  bool overlap = false;
  // Seed of the check's projections and drawn rows; empty: a new one in each run.
  std::optional<uint32_t> check_seed;
  std::string checked;                                    // records of checked results; empty: none
  std::shared_ptr<const CheckedResults> checked_results;  // from that file, once it is open
  WeightSource source;
  std::shared_ptr<LayerWeights> layer_weights;  // of that source, once it is open (loading.h)
  std::string json, dump, trace_dir, save_routing;
  std::string export_csv, export_json, export_markdown;  // files for readers of hyperfine's exports
  std::string repro;   // the command line again, without files that it writes and without the filter
  std::string filter;  // regular expression: points whose label has no match are left out
  // The options of each combination of the values of -L. `axes` names the values that set a combination
  // apart.
  std::vector<BenchOptions> variants;
  std::vector<std::pair<std::string, std::string>> axes;
  bool blocks_given = false;                   // by --blocks; else a tuned table may have others
  TableChoice table = TableChoice::automatic;  // of tuned blocks
  std::string table_file;                      // if `table` is a file
  int64_t trace_steps = 1;                     // the last ones, in a trace
};

}  // namespace moehill
