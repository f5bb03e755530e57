#include "moehill/measure/loading.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace moehill {
void open_weights(BenchOptions& options) {
  if (options.source.path.empty()) return;
  const MoeShape& shape = options.shape;
  options.layer_weights =
      std::make_shared<LayerWeights>(options.source.path, options.source.layer,
                                     LayerShape{shape.hidden,
                                                shape.mlp_dim,
                                                shape.experts,
                                                shape.shared_dim,
                                                {shape.form.activation.gated, shape.form.biases},
                                                shape.form.shared_gate,
                                                shape.router.zero_experts,
                                                shape.router.bias,
                                                shape.router.expert_scale,
                                                shape.form.latent,
                                                shape.form.latent_norm > 0});
}

RecordedLoading loading_of(const LayerWeights& weights) {
  const LoadFigures& figures = weights.figures();
  RecordedLoading loading;
  loading.layer = weights.layer();
  loading.tensors = weights.form();
  loading.encoding = name_of(weights.encoding());
  loading.unused = weights.unused();
  loading.bytes = figures.bytes;
  loading.time_s = figures.seconds;
  loading.gbps = figures.seconds > 0 ? figures.bytes / figures.seconds / 1e9 : 0;
  loading.rounding = figures.rounding;
  return loading;
}

std::string loading_line(const BenchOptions& options) {
  if (options.layer_weights == nullptr) return "";
  const RecordedLoading loading = loading_of(*options.layer_weights);
  std::string line = fmt::format(
      "weights: layer {} of {} ({}, {}), {:.3g} MB in {:.3g} s, {:.3g} GB/s; rounded to {} by at most {:.2g} "
      "of a "
      "value; hash {:016x}\n",
      loading.layer, options.source.path, loading.tensors, loading.encoding, loading.bytes / 1e6,
      loading.time_s, loading.gbps, dtype_name(options.shape.dtype), loading.rounding,
      options.layer_weights->hash());
  if (!loading.unused.empty())
    line +=
        fmt::format("weights of the block that the step does not use: {}\n", fmt::join(loading.unused, ", "));
  return line;
}

}  // namespace moehill
