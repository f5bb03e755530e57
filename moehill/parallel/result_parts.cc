// Implements result_parts.h: for each tensor of results, the bytes that one rank has. The first rank has the
// tensors that are not spread over devices.
#include "moehill/parallel/result_parts.h"

#include <array>
#include <utility>

#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// Parts collects the parts of one rank, tensor by tensor.
class Parts {
 public:
  Parts(const RunConfig& config, int rank) : config_(config), rank_(rank) {}

  // Adds a tensor of rows, `row_bytes` for each token.
  void add_rows(const char* tensor, void* whole, int64_t row_bytes) {
    if (whole == nullptr) return;
    const bool sharded = shards_tokens(config_);
    const Range all{0, config_.shape.tokens};
    const Range tokens = !has_device() ? Range{0, 0} : sharded ? result_tokens(config_, rank_) : root(all);
    add(tensor, whole, tokens, row_bytes);
  }

  void add_experts(const MlpWeights& gradient) {
    const bool ep = is_ep(config_.spread);
    for (const auto& [tensor, stack] : named(gradient, {"dw13", "dw1", "dw3", "dw2"})) {
      if (stack->data == nullptr) continue;
      Range experts = root({0, stack->num_groups});
      if (ep && has_device()) experts = share(stack->num_groups, rank_, config_.num_devices);
      add(tensor, stack->data, experts, stack->group_elements() * element_bytes(*stack));
    }
  }

  void add_shared(const MlpWeights& gradient) {
    for (const auto& [tensor, stack] : named(gradient, {"ds13", "ds1", "ds3", "ds2"})) {
      if (stack->data == nullptr) continue;
      const int64_t n = stack->num_groups * stack->group_elements();
      const bool sharded = shards_shared_gradient(config_) && has_device();
      add(tensor, stack->data, sharded ? share(n, rank_, config_.num_devices) : root({0, n}),
          element_bytes(*stack));
    }
  }

  // Adds a tensor of whose elements each device has a share.
  void add_elements(const char* tensor, const WeightView& gradient) {
    const int64_t n = gradient.data == nullptr ? 0 : gradient.group_elements();
    if (n > 0)
      add(tensor, gradient.data, has_device() ? share(n, rank_, config_.num_devices) : Range{0, 0},
          element_bytes(gradient));
  }

  std::vector<ResultPart> take() { return std::move(parts_); }

 private:
  bool has_device() const { return rank_ < config_.num_devices; }
  Range root(Range all) const { return rank_ == 0 ? all : Range{0, 0}; }
  static int64_t element_bytes(const WeightView& w) { return static_cast<int64_t>(dtype_bytes(w.dtype)); }
  using Named = std::pair<const char*, const WeightView*>;
  // `names` are the names of W1 and W3 in one matrix, of W1, of W3 and of W2.
  static std::vector<Named> named(const MlpWeights& w, std::array<const char*, 4> names) {
    return {{w.gate_up() ? names[0] : names[1], &w.up[0]},
            {names[2], &w.up[1]},
            {names[3], &w.down},
            {"db1", &w.up_bias[0]},
            {"db3", &w.up_bias[1]},
            {"db2", &w.down_bias},
            {"dsg", &w.row_gate}};
  }
  void add(const char* tensor, void* whole, Range items, int64_t item_bytes) {
    parts_.push_back({tensor, static_cast<char*>(whole), {items.begin * item_bytes, items.end * item_bytes}});
  }

  const RunConfig& config_;
  int rank_;
  std::vector<ResultPart> parts_;
};

}  // namespace

bool shards_shared_gradient(const RunConfig& config) {
  return is_ep(config.spread) &&
         (shards_tokens(config) || config.shared_placement == SharedPlacement::sliced);
}

std::vector<ResultPart> result_parts(const RunConfig& config, const ResultTensors& results, int rank) {
  const MoeShape& shape = config.shape;
  const auto row_bytes = [](const MatView& m) { return m.cols * static_cast<int64_t>(dtype_bytes(m.dtype)); };
  Parts parts(config, rank);
  parts.add_rows("y", results.y.data, row_bytes(results.y));
  if (config.block.pass == Pass::forward) return parts.take();
  parts.add_rows("dx", results.dx.data, row_bytes(results.dx));
  parts.add_experts(results.experts_grad);
  parts.add_shared(results.shared_grad);
  parts.add_rows("dp", results.dp, shape.topk * static_cast<int64_t>(sizeof(float)));
  parts.add_rows("dlogits", results.dlogits, shape.num_logits() * static_cast<int64_t>(sizeof(float)));
  parts.add_elements("dwg", results.router_grad);
  parts.add_elements("dlatent_down", results.latent_grad.down);
  parts.add_elements("dlatent_up", results.latent_grad.up);
  parts.add_elements("dlatent_norm", results.latent_grad.norm);
  return parts.take();
}

}  // namespace moehill
