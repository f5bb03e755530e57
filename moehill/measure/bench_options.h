// What a command that measures blocks asks for: the axes of its points and how they are measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/schedule.h"
#include "moehill/moe/check.h"
#include "moehill/parallel/run.h"

namespace moehill {

const char* name_of(CheckMode mode);

// As given, with defaults filled in; `points.h` makes the points of it. The default shape is the block of
// qwen1.5-moe-a2.7b.
struct BenchOptions {
  std::string preset;
  int64_t tokens = 4096;
  bool tokens_auto = false;  // --tokens auto: chosen from the measured peak, see auto_tokens.h
  int64_t hidden = 2048, mlp_dim = 1408, experts = 60, topk = 4, shared_dim = 5632;
  std::vector<int64_t> topk_list;  // empty: topk alone
  bool shared_fused = false;
  DType dtype = DType::bf16;
  std::vector<DistributionOptions> distributions = {{}};
  double run_alpha = DistributionOptions{}.run_alpha;
  double run_noise_scale = DistributionOptions{}.run_noise_scale;
  Pass pass = Pass::forward_backward;
  Backend backend = Backend::gmm;
  std::vector<Impl> impls = {Impl::fused_w13};
  PackStrategy pack = PackStrategy::counting_sort;
  std::vector<bool> prequeue = {false};
  Remat remat = Remat::none;
  Capacity capacity;
  bool router_grad = false;
  std::vector<ParallelMode> modes = {ParallelMode::none};
  std::optional<EpPath> ep_path;  // empty: auto
  SharedPlacement shared_placement = SharedPlacement::sliced;
  std::optional<bool> split_rows;                                 // empty: auto, see block_command.h
  int64_t devices = 0, threads_per_device = 0, none_threads = 0;  // 0: from the cores, see points.h
  std::string mesh = "auto";                                      // resolved by adopt_job(), see points.h
  bool stage_timing = false;
  bool overlap = false;  // computation and communication alone beside each step of several devices
  ScheduleOptions schedule;
  uint32_t seed = 0;
  CheckMode check = CheckMode::sample;
  std::optional<uint32_t>
      check_seed;  // of the check's projections and drawn rows; none: drawn anew in each run
  std::string json, dump, trace_dir;
  BlockSizes blocks{};
  bool blocks_given = false;   // by --blocks; else a tuned table may have others
  std::string table = "auto";  // of tuned blocks: auto, off, or a file
  int64_t trace_steps = 1;     // the last ones, in a trace
};

}  // namespace moehill
