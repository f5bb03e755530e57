// This header says which bytes of a step's results each device leaves in the tensors of the run (ResultPart).
// The check and the dump collect results by these parts, so they need not know the paths.
//
//     for (const ResultPart& part : result_parts(config, results, rank))
//       send(part.whole + part.bytes.begin, part.bytes.size());   // this rank's bytes of part.tensor
#pragma once

#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/moe/block.h"

namespace moehill {

// ResultTensors are the tensors of a run that a step writes. Rows of y and dx have no gaps.
struct ResultTensors {
  MatView y, dx;  // [T, H]; dx and all below only with a backward pass
  MlpWeights experts_grad, shared_grad;
  float* dp = nullptr;       // [T, k]
  float* dlogits = nullptr;  // [T, L] with router_grad
  WeightView router_grad{};  // with router_product
  LatentWeights latent_grad{};
};

// ResultPart is one rank's range of one tensor.
struct ResultPart {
  const char* tensor = "";  // y, dx, dw13 or dw1 and dw3, dw2, ds13 or ds1 and ds3, ds2, dp, dlogits, dwg,
                            // dlatent_down, dlatent_up, dlatent_norm
  char* whole = nullptr;    // where the tensor starts
  Range bytes;              // range of the tensor's bytes
};

// Returns the parts of a rank, for every rank the same number in the same order. The parts of all ranks cover
// every tensor and do not overlap. A tensor of which every device has a copy belongs to device 0. A rank
// without a device has empty parts.
std::vector<ResultPart> result_parts(const RunConfig& config, const ResultTensors& results, int rank);

// True if each device ends with a share of the elements of the shared expert's weight gradients.
bool shards_shared_gradient(const RunConfig& config);

}  // namespace moehill
