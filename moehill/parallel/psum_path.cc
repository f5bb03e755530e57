// `compact_psum` and `dense_masked`: tokens replicated, experts sharded, results summed by one all-reduce
// forward and one backward, as the reference has it. The two differ in the plan alone (PlanScope): compact
// plans hold a device's own rows, masked plans all rows, of which those of other devices' experts are
// computed with gate value 0.
//
// Shared expert: `sliced` gives each device a slice of the tokens and lets the same all-reduce carry the
// result; its weight gradients then need a sum over devices of their own (reduce-scatter: each device ends
// with the share it would update). `replicated` is the reference's way: every device computes all of it.
#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

class PsumPath final : public ParallelPath {
 public:
  PsumPath(SharedPlacement placement, Fault fault)
      : sliced_(placement == SharedPlacement::sliced), fault_(fault) {}

  void forward(Group& group, Device& device, StageListener* listener) const override {
    const MatView& partial = device.partial.view();
    MatView base;
    if (device.block.has_shared() && sliced_) base = partial;
    if (device.block.has_shared()) {
      const Range tokens = device.block.share().shared_tokens;
      const MatView out = sliced_ ? partial.slice_rows(tokens.begin, tokens.end) : device.y;
      device.block.forward_shared(group.team(), device.operands, out, listener);
      if (sliced_) zero_outside(group.team(), partial, tokens);
    }
    device.block.forward_routed(group.team(), device.operands, base, partial, listener);
    enter(listener, Stage::reduce);
    reduce(group, device, device.block.has_shared() && !sliced_, device.y);
  }

  void backward(Group& group, Device& device, float dy_scale, StageListener* listener) const override {
    const MatView& partial = device.partial.view();
    ThreadTeam& team = group.team();
    MatView base;
    if (device.block.has_shared()) {
      const Range tokens = device.block.share().shared_tokens;
      const MatView dx = sliced_ ? partial.slice_rows(tokens.begin, tokens.end) : device.dx;
      device.block.backward_shared(team, device.operands, device.y, dy_scale, dx, listener);
      if (sliced_) zero_outside(team, partial, tokens);
      if (sliced_) base = partial;
    }
    std::fill(device.dp.begin(), device.dp.end(), 0.0f);
    device.block.backward_routed(team, device.operands, device.y, dy_scale, base, partial, device.dp.data(),
                                 listener);
    enter(listener, Stage::reduce_grad);
    reduce(group, device, device.block.has_shared() && !sliced_, device.dx);
    group.all_reduce(device.dp.data(), DType::f32, device.dp_sum, DType::f32,
                     static_cast<int64_t>(device.dp.size()));
    if (sliced_) reduce_shared_grad(group, device);
  }

 private:
  static void zero_outside(ThreadTeam& team, const MatView& out, Range kept) {
    zero_rows(team, out.slice_rows(0, kept.begin));
    zero_rows(team, out.slice_rows(kept.end, out.rows));
  }

  // out = sum over devices of the partial sums, plus what `out` holds if `add`.
  void reduce(Group& group, Device& device, bool add, const MatView& out) const {
    const MatView& partial = device.partial.view();
    const bool last = group.rank() == group.size() - 1;
    if (fault_ == Fault::peer_partial_missing && last) zero_rows(group.team(), partial);
    const void* input = fault_ == Fault::stale_reduce && last ? device.stale.view().data : partial.data;
    const MatView& sum = add ? partial : out;
    group.all_reduce(input, DType::f32, sum.data, sum.dtype, partial.rows * partial.cols);
    if (add) add_rows(group.team(), partial, out);
  }

  // Every device has its part of dS in the layout of the weights; the sum is left sharded, element ranges by
  // rank.
  static void reduce_shared_grad(Group& group, Device& device) {
    const MlpWeights& part = device.operands.shared_grad;
    const MlpWeights& sum = device.shared_grad_sum;
    const WeightView* parts[3] = {&part.up[0], &part.up[1], &part.down};
    const WeightView* sums[3] = {&sum.up[0], &sum.up[1], &sum.down};
    for (int i = 0; i < 3; ++i) {
      if (sums[i]->data == nullptr) continue;
      const int64_t size = group.size();
      device.reduce_offsets.clear();
      for (int64_t r = 0; r <= size; ++r)
        device.reduce_offsets.push_back(sums[i]->group_elements() * r / size);
      const int64_t begin = device.reduce_offsets[static_cast<size_t>(group.rank())];
      char* output =
          static_cast<char*>(sums[i]->data) + static_cast<size_t>(begin) * dtype_bytes(sums[i]->dtype);
      group.reduce_scatter(parts[i]->data, parts[i]->dtype, device.reduce_offsets, output, sums[i]->dtype);
    }
  }

  bool sliced_;
  Fault fault_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_psum_path(SharedPlacement placement, Fault fault) {
  return std::make_unique<PsumPath>(placement, fault);
}

}  // namespace moehill
