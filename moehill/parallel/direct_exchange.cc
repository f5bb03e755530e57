// Rows where they are: experts read x and y in their owners' memory, and owners the partial sums in the
// experts'.
//
// Two barriers a pass keep this safe. That of land(): y is complete on all devices, and nobody reads the
// partial sums of the pass before. That of finish_combine(): the partial sums are complete, and nobody reads
// y.
#include "moehill/kernels/rows.h"
#include "moehill/parallel/row_exchange.h"

namespace moehill {
namespace {

class DirectExchange final : public RowExchange {
 public:
  DirectExchange(const PathInputs& inputs, const RaggedRoute& route, std::shared_ptr<void> memory)
      : inputs_(inputs), route_(route), memory_(std::move(memory)) {
    const MoeShape& shape = inputs.config.shape;
    all_partial_ = {memory_.get(), shape.dtype, shape.tokens * inputs.config.num_devices, shape.hidden,
                    shape.hidden};
    num_own_ = result_tokens(inputs.config, inputs.rank).size();
    partial_row_.resize(static_cast<size_t>(num_own_ * inputs.config.num_devices));
  }

  bool in_place() const override { return true; }
  const int32_t* row_of_token() const override { return route_.received_token(); }
  Range own_rows() const override { return {}; }

  void make_index(Group& group) override {
    const int64_t tokens = inputs_.config.shape.tokens;
    for (int d = 0; d < group.size(); ++d) {
      const int64_t shift = d * tokens + route_.place_at(d) - route_.send_offsets()[static_cast<size_t>(d)];
      for (int64_t t = 0; t < num_own_; ++t) {
        const int64_t i = t * group.size() + d;
        const int32_t row = route_.row_at_device()[i];
        partial_row_[static_cast<size_t>(i)] = row < 0 ? -1 : static_cast<int32_t>(row + shift);
      }
    }
  }

  void start_x(Group&) override {}
  void start_y(Group&) override {}
  void land(Group& group, int) override {
    group.barrier();
    group.count_reads(route_.send_offsets(), route_.receive_offsets(), row_bytes());
  }
  MatView x() const override { return inputs_.x; }
  MatView y() const override { return inputs_.y; }
  MatView partial() const override {
    const int64_t begin = inputs_.rank * inputs_.config.shape.tokens;
    return all_partial_.slice_rows(begin, begin + route_.num_received());
  }

  void spoil_work_space(const MemoryVisitor& spoil) override { visit_matrix(partial(), spoil); }
  void spoil_index(const MemoryVisitor& spoil) override { visit_vector(partial_row_, spoil); }

  void answer(Group&, int) override {}
  void finish_combine(Group& group, const MatView& base, const MatView& out) override {
    group.barrier();
    combine_rows(group.team(), {all_partial_, partial_row_.data(), nullptr, group.size(), base}, out);
    group.count_reads(route_.receive_offsets(), route_.send_offsets(), row_bytes());
  }

 private:
  size_t row_bytes() const {
    return static_cast<size_t>(all_partial_.cols) * dtype_bytes(all_partial_.dtype);
  }

  const PathInputs inputs_;
  const RaggedRoute& route_;
  std::shared_ptr<void> memory_;
  MatView all_partial_{};  // [P T, H]; device d's from row d T
  int64_t num_own_ = 0;
  std::vector<int32_t> partial_row_;  // [n, P] the row of an own token's partial sum from a device, or -1
};

}  // namespace

std::unique_ptr<RowExchange> make_direct_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                  Group& group) {
  const MoeShape& shape = inputs.config.shape;
  const size_t elements =
      static_cast<size_t>(shape.tokens * shape.hidden) * static_cast<size_t>(group.size());
  std::shared_ptr<void> memory = group.common_memory(elements * dtype_bytes(shape.dtype));
  if (memory == nullptr) return nullptr;
  return std::make_unique<DirectExchange>(inputs, route, std::move(memory));
}

}  // namespace moehill
