// Text and counts of a shape. docs/metrics.md defines the FLOPs.
#include "moehill/block/shape.h"

#include <fmt/format.h>

#include "moehill/base/error.h"

namespace moehill {

std::string to_string(const MoeShape& shape) {
  std::string text = fmt::format("tokens={} hidden={} mlp_dim={} experts={} topk={} shared={} {}",
                                 shape.tokens, shape.hidden, shape.mlp_dim, shape.experts, shape.topk,
                                 shape.shared_dim, dtype_name(shape.dtype));
  if (!(shape.form == ExpertForm{})) text += " form=" + to_string(shape.form);
  if (!(shape.router == RouterRule{})) text += " router=" + to_string(shape.router);
  return text;
}

double router_flops(const MoeShape& shape, Pass pass) {
  const double product = 2.0 * static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden);
  return product * shape.num_logits() * (pass == Pass::forward ? 1.0 : 3.0);
}

double model_flops(const MoeShape& shape, Pass pass, int64_t num_assignments) {
  const double hidden = static_cast<double>(shape.hidden);
  // FLOPs of a row for each element between two products.
  const double each = 2.0 * shape.form.num_matrices();
  const double routed = each * static_cast<double>(num_assignments) *
                        static_cast<double>(shape.expert_hidden() * shape.mlp_dim);
  const double latent =
      4 * static_cast<double>(shape.tokens) * hidden * static_cast<double>(shape.form.latent);
  const double shared =
      each * static_cast<double>(shape.tokens) * hidden * static_cast<double>(shape.shared_dim);
  return (routed + shared + latent) * (pass == Pass::forward ? 1.0 : 3.0);
}

}  // namespace moehill
