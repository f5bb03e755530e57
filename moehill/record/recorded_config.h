// RecordedConfig is what a record says was asked for: every option of a point, and how the command measured
// it. record.h has what came of it. The options of commands (measure/bench_options.h) are made of the same
// structs, so that each option has its name, help and range once.
//
//     RecordedConfig config;
//     read_fields(record["config"], config);   // an option that is missing keeps its default
//     config.run.shape.topk;
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "moehill/base/json_fields.h"
#include "moehill/bench/schedule.h"
#include "moehill/block/run_config.h"
#include "moehill/mesh/collective.h"
#include "moehill/moe/check.h"
#include "moehill/routing/distribution_options.h"

namespace moehill {

// Words is a text that may be missing.
using Words = std::optional<std::string>;

// ProfilePath names the ways to spread a block that `moehill profile` compares. Records of other commands
// have none.
enum class ProfilePath { none, ref_dp, staged_dp, fused_ep };
constexpr auto words(ProfilePath) { return std::array{"", "ref_dp", "staged_dp", "fused_ep"}; }

// MeasuringOptions are the options of measuring that hold for a whole command, not for one point.
struct MeasuringOptions {
  MeshKind mesh = MeshKind::automatic;  // in a record it is resolved: threads or mpi
  bool stage_timing = false;
  ScheduleOptions schedule;
  uint32_t seed = 0;
  CheckMode check = CheckMode::sample;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"mesh", "where the devices live: in this process, or one in each process of mpirun or srun"},
          self.mesh);
    visit(Field{"stage_timing", "seconds and share of every stage"}, self.stage_timing);
    visit(Field{"iters", "timed rounds (at least)", 1, 100000}, self.schedule.iters);
    visit(Field{"warmup", "rounds before the timed ones", 0, 100000}, self.schedule.warmup);
    visit(Field{"min_time", "go on until every point has this many seconds of samples", 0, 86400},
          self.schedule.min_time);
    visit(Field{"ci_target", "go on until every median's interval is within this share; 0: off", 0, 1},
          self.schedule.ci_target);
    visit(Field{"seed", "seed of every random value", 0, kMaxSeed}, self.seed);
    visit(Field{"check",
                "compare all rows of all results with a block computed apart; if it fails there is no "
                "throughput"},
          self.check);
  }
};

// WeightSource says where the weights come from, as the options say it.
struct WeightSource {
  std::string path;              // a .safetensors file, an index or a folder; empty: they are random
  std::optional<int64_t> layer;  // none: the first layer that has experts

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{.name = "weights", .present = !self.path.empty()}, self.path);
    visit(Field{.name = "layer", .present = self.layer.has_value()}, self.layer);
  }
};

// RecordedConfig holds every option of a point, resolved: nothing is `automatic` any more.
struct RecordedConfig {
  Words preset;
  RunConfig run;
  DistributionOptions distribution;
  MeasuringOptions measuring;
  WeightSource source;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"preset"}, self.preset);
    // The options of the distribution hold the router's parameters, so the router's own text tells less than
    // the record has to. The record gets a text that includes them; to read it back, that text suffices.
    MoeShape::fields(self.run.shape, [&](const Field& field, auto&& value) {
      if constexpr (std::is_const_v<Self> &&
                    std::is_same_v<std::decay_t<decltype(value)>, Told<std::string>>) {
        std::string text = router_text(self.run.shape.router, self.distribution);
        if (field.name == std::string_view("router")) return visit(field, Told{text});
      }
      visit(field, std::forward<decltype(value)>(value));
    });
    BlockOptions::fields(self.run.block, visit);
    DistributionOptions::fields(self.distribution, visit);
    RunConfig::fields(self.run, visit);
    MeasuringOptions::fields(self.measuring, visit);
    WeightSource::fields(self.source, visit);
  }
};

}  // namespace moehill
