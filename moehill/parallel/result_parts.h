// Result parts tell which bytes of a step's results each device leaves in the tensors of the run. The check
// and the dump collect results by them, so they need to know no path.
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
  Range bytes;              // of the tensor
};

// Returns as many parts, in the same order, for every rank. The parts of all ranks cover every tensor and do
// not overlap. Tensors that are not shared out (results that every device has) belong to device 0. A rank
// without a device has empty parts.
std::vector<ResultPart> result_parts(const RunConfig& config, const ResultTensors& results, int rank);

// True if each device ends with a share of the elements of the shared expert's weight gradients.
bool shards_shared_gradient(const RunConfig& config);

}  // namespace moehill
