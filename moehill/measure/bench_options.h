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

// As given, with defaults filled in; `points.h` makes the points of it. The default shape is the block of
// qwen1.5-moe-a2.7b.
struct BenchOptions {
  std::string preset;
  MoeShape shape{4096, 2048, 1408, 60, 4, 5632};
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
  SharedPlacement shared_placement = SharedPlacement::sliced;
  std::optional<Switch> split_rows;                               // empty: auto, see block_command.h
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
  bool blocks_given = false;   // by --blocks; else a tuned table may have others
  std::string table = "auto";  // of tuned blocks: auto, off, or a file
  int64_t trace_steps = 1;     // the last ones, in a trace

  // How points are measured; what they are has fields of its own.
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"mesh", "where the devices live: in this process, or one in each process of mpirun or srun"},
          self.mesh);
    visit(Field{"stage_timing", "seconds and share of every stage"}, self.stage_timing);
    visit(Field{"iters", "timed rounds, at least", 1, 100000}, self.schedule.iters);
    visit(Field{"warmup", "rounds before them", 0, 100000}, self.schedule.warmup);
    visit(Field{"min_time", "go on until every point has this many seconds of samples", 0, 86400},
          self.schedule.min_time);
    visit(Field{"ci_target", "go on until every median's interval is within this share; 0: off", 0, 1},
          self.schedule.ci_target);
    visit(Field{"seed", "seed of every random value", 0, kMaxSeed}, self.seed);
    visit(Field{"check",
                "all rows of all results against a block computed apart; a failed check has no throughput"},
          self.check);
  }
};

}  // namespace moehill
