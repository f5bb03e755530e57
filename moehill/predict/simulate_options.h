// What `moehill simulate` asks for.
#pragma once

#include <cstdint>
#include <string>

#include "moehill/model/work.h"
#include "moehill/moe/options.h"
#include "moehill/moe/shape.h"
#include "moehill/routing/distribution_options.h"

namespace moehill {

enum class Scaling { none, weak, strong };

struct SimulateOptions {
  std::string hardware = "epyc-cluster";
  int64_t devices = 64;
  std::string preset;
  int64_t tokens = 0, tokens_per_device = 1024;  // tokens 0: devices times tokens_per_device
  int64_t hidden = 2048, mlp_dim = 1408, experts = 60, topk = 4, shared_dim = 5632;
  DType dtype = DType::bf16;
  Pass pass = Pass::forward_backward;
  DistributionOptions distribution;
  Spread path = Spread::ragged_a2a;
  bool compare_paths = false;
  Scaling scaling = Scaling::none;
  int64_t exact_devices = 128;
  uint32_t seed = 0;
  std::string json;
  int64_t validate = 0;  // random shapes that are run here and simulated
  std::string record;    // of runs that are simulated

  int64_t tokens_at(int64_t num_devices) const {
    if (tokens > 0) return tokens;
    return tokens_per_device * (scaling == Scaling::weak ? num_devices : devices);
  }
};

}  // namespace moehill
