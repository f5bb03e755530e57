// Options of the commands that measure blocks: the axes of their points, and how points are measured.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moehill/record/record.h"
#include "moehill/routing/distribution.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

// automatic: this user's table of tuned blocks, then the one that comes with the program.
enum class TableChoice { automatic, off, file };
constexpr auto words(TableChoice) { return std::array{"auto", "off", "FILE"}; }

// The options as given, with defaults filled in; `points.h` makes the points of them. The default shape is
// the block of qwen1.5-moe-a2.7b.
struct BenchOptions : MeasuringOptions {
  std::string preset, config;            // a known model, or a model's config.json
  std::vector<std::string> model_notes;  // what a model's block is run without, and what was assumed of it
  MoeShape shape{4096, 2048, 1408, 60, 4, 5632};
  bool router_given = false;       // by --router, and not by a preset
  bool tokens_auto = false;        // --tokens auto: chosen from the measured peak, see auto_tokens.h
  std::vector<int64_t> topk_list;  // empty: topk alone
  std::vector<DistributionOptions> distributions = {{}};
  double run_alpha = DistributionOptions{}.run_alpha;
  double run_noise_scale = DistributionOptions{}.run_noise_scale;
  BlockOptions block;  // of every point, but for the lists that follow
  std::vector<Impl> impls = {Impl::fused_w13};
  std::vector<QueueMode> queue_modes = {QueueMode::full};
  std::vector<ParallelMode> modes = {ParallelMode::none};
  std::optional<Spread> ep_path;  // empty: auto
  Wire wire = Wire::native;       // ep: the form of rows between nodes
  SharedPlacement shared_placement = SharedPlacement::sliced;
  std::string placement;                                          // ep: as --placement has it; or empty
  std::optional<Switch> split_rows;                               // empty: auto, see block_command.h
  int64_t devices = 0, threads_per_device = 0, none_threads = 0;  // 0: from the cores, see points.h
  int64_t nodes = 0;                // that the devices of one process pass for; 0: they are on one
  int64_t ranks_per_node = 0;       // of a job of several nodes: the most
  double timeout_s = 0;             // of waits for other processes; 0: chosen
  bool climbed = false;             // the options that moehill climb found for the problem are added
  std::vector<Ablation> ablations;  // each point gets an arm for each of these
  bool overlap = false;             // computation and communication alone beside each step of several devices
  std::optional<uint32_t>
      check_seed;  // of the check's projections and drawn rows; none: drawn anew in each run
  WeightSource source;
  std::shared_ptr<LayerWeights> layer_weights;  // of that source, once opened (loading.h)
  std::string json, dump, trace_dir, save_routing;
  std::string export_csv, export_json, export_markdown;  // files for readers of hyperfine's exports
  std::string repro;   // the command line again, without files that it writes and without the filter
  std::string filter;  // regular expression: points whose label has no match are left out
  // The options of each combination of the values of -L. `axes` names the values that set one apart.
  std::vector<BenchOptions> variants;
  std::vector<std::pair<std::string, std::string>> axes;
  bool blocks_given = false;                   // by --blocks; else a tuned table may have others
  TableChoice table = TableChoice::automatic;  // of tuned blocks
  std::string table_file;                      // of that choice
  int64_t trace_steps = 1;                     // the last ones, in a trace
};

}  // namespace moehill
