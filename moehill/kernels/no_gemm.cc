// This is a grouped GEMM that multiplies nothing. An ablation uses it to measure a step without its products.
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {
namespace {

class NoGemm final : public GroupedGemm {
 public:
  explicit NoGemm(std::unique_ptr<GroupedGemm> like) : like_(std::move(like)) {}
  WeightLayout layout() const override { return like_->layout(); }
  bool gathers_and_fuses() const override { return like_->gathers_and_fuses(); }
  void forward(ThreadTeam&, const GroupRows&, const RowSource&, const WeightView&, const ForwardOutput&,
               Product) override {}
  void input_grad(ThreadTeam&, const GroupRows&, const RowSource&, const WeightView&, const InputGradOutput&,
                  Product) override {}
  void weight_grad(ThreadTeam&, const GroupRows&, const RowSource&, const RowSource&,
                   const WeightView&) override {}
  GemmCounts counts() const override { return {}; }
  void visit_work_space(const MemoryVisitor&) override {}

 private:
  std::unique_ptr<GroupedGemm> like_;
};

}  // namespace

std::unique_ptr<GroupedGemm> make_no_gemm(std::unique_ptr<GroupedGemm> like) {
  return std::make_unique<NoGemm>(std::move(like));
}

}  // namespace moehill
