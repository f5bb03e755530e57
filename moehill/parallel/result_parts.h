// Result parts: which bytes of a step's results each device leaves in the run's own tensors.
#pragma once

#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"

namespace moehill {

// The run's own tensors that a step writes. The rows of y and dx are tight.
struct ResultTensors {
  MatView y, dx;  // [T, H]; dx and all that follow with a backward pass only
  MlpWeights experts_grad, shared_grad;
  float* dp = nullptr;       // [T, k]
  float* dlogits = nullptr;  // [T, L] with router_grad
  WeightView router_grad{};  // with router_product
  LatentWeights latent_grad{};
};

struct ResultPart {
  const char* tensor = "";  // y, dx, dw13 or dw1 and dw3, dw2, ds13 or ds1 and ds3, ds2, dp, dlogits, dwg,
                            // dlatent_down, dlatent_up, dlatent_norm
  char* whole = nullptr;    // where the tensor starts
  Range bytes;              // of the tensor
};

// Tensors whose owner is not shared out (replicated results, sums that every device has) belong to device 0.
// As many parts in the same order for every rank, also for one without a device, whose parts are empty; the
// parts of all ranks cover every tensor and do not overlap.
std::vector<ResultPart> result_parts(const RunConfig& config, const ResultTensors& results, int rank);

// True if the shared expert's weight gradients end as a share of the elements per device.
bool shards_shared_gradient(const RunConfig& config);

}  // namespace moehill
