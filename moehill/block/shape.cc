#include "moehill/block/shape.h"

#include <fmt/format.h>

#include "moehill/base/error.h"

namespace moehill {

std::string to_string(const MoeShape& shape) {
  return fmt::format("tokens={} hidden={} mlp_dim={} experts={} topk={} shared={} {}", shape.tokens,
                     shape.hidden, shape.mlp_dim, shape.experts, shape.topk, shape.shared_dim,
                     dtype_name(shape.dtype));
}

void refuse_unbuilt(const RouterRule& router) {
  const std::string built = "routers whose choices are experts and whose gate values multiply their outputs";
  if (router.zero_experts > 0) {
    throw input_error("--router", fmt::format("zero:{}, which is not supported yet", router.zero_experts),
                      built, "leave zero out: the step then has a real expert for each choice");
  }
  if (router.input_weighted) {
    throw input_error("--router", "input-weighted, which is not supported yet", built,
                      "leave input-weighted out: the gate value then multiplies the expert's output");
  }
}

double model_flops(const MoeShape& shape, Pass pass, int64_t num_assignments) {
  const double hidden = static_cast<double>(shape.hidden);
  const double routed =
      6.0 * static_cast<double>(num_assignments) * hidden * static_cast<double>(shape.mlp_dim);
  const double shared =
      6.0 * static_cast<double>(shape.tokens) * hidden * static_cast<double>(shape.shared_dim);
  return (routed + shared) * (pass == Pass::forward ? 1.0 : 3.0);
}

}  // namespace moehill
