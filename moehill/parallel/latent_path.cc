// This is the path of a block whose routed experts have another width H' than the model ("latent" experts).
// It puts any path that moves rows between two products: each device projects its own tokens to H' before the
// inner path and back to H after it, and the inner path sees only rows of H'. The formulas, with r the routed
// experts' sums for z:
//
//   z = x down;  n = r, or norm(r);  y = shared(x) + n up^T
//   dn = dy up;  dr = dn, or the norm's gradient;  dz = the routed experts' dx for dr
//   dx = the shared expert's dx + dz down^T
//   d down = x^T dz;  d up = dy^T n;  d norm = sum over tokens of dn r / rms(r)
#include "moehill/parallel/latent_path.h"

#include <cmath>
#include <optional>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// This many tokens share one partial sum of d norm. The cut is fixed, so the result does not depend on the
// number of threads.
constexpr int64_t kNormTokens = 64;

GemmLimits limits_of(const RunConfig& config, int64_t tokens) {
  GemmLimits limits;
  limits.max_rows = std::max<int64_t>(1, tokens);
  limits.max_depth = std::max(config.shape.hidden, round_up(config.shape.form.latent, kPanelWidth));
  limits.max_matrix = config.shape.hidden * round_up(config.shape.form.latent, kPanelWidth);
  limits.num_threads = config.threads_per_device;
  limits.blocks = config.block.blocks;
  return limits;
}

// Returns 1 / rms of a row.
float inverse_rms(const MatView& rows, int64_t row, double eps) {
  float sum = 0;
  for (int64_t c = 0; c < rows.cols; ++c) sum += rows.at(row, c) * rows.at(row, c);
  return static_cast<float>(1 / std::sqrt(static_cast<double>(sum) / static_cast<double>(rows.cols) + eps));
}

// Returns the inputs of the outer part: the shared expert and zero experts, over rows of the model's width.
PathInputs outer_inputs(PathInputs inputs) {
  inputs.config = outer_part(inputs.config);
  return inputs;
}

// Returns the inputs of the inner path, which gets the latent rows as its x, y, dx and dy, and no shared
// expert.
PathInputs routed_inputs(PathInputs inputs, const RunConfig& config) {
  inputs.config = routed_part(config);
  const LatentRows& rows = inputs.latent;
  inputs.x = rows.z;
  inputs.y = rows.r;
  inputs.dx = rows.dz;
  inputs.dy = rows.dr;
  inputs.weights.shared = inputs.weights.shared_grad = MlpWeights{};
  return inputs;
}

class LatentPath final : public ParallelPath {
 public:
  explicit LatentPath(const PathInputs& inputs) : ParallelPath(outer_inputs(inputs)), whole_(inputs.config) {
    experts_ = make_path(routed_inputs(inputs, whole_));
    const int64_t tokens = result_tokens(whole_, inputs.rank).size();
    gemm_ = make_gmm(limits_of(whole_, tokens));
    take_tokens();
    if (!backward_too()) return;
    // With several devices each has the gradients of its own tokens only, so it needs memory for its part of
    // the sum.
    grad_ = inputs.weights.latent_grad;
    if (has_norm())
      norm_sums_.resize(static_cast<size_t>((tokens / kNormTokens + 1) * whole_.shape.form.latent));
    if (whole_.num_devices == 1) return;
    part_ = make_latent(weight_key(whole_));
    grad_ = part_.view();
    offsets_.resize(static_cast<size_t>(whole_.num_devices) + 1);
    if (whole_.shape.shared_dim == 0) return;
    shared_gradient_.emplace(outer_inputs(inputs));
    weights_.shared_grad = shared_gradient_->part();
  }

  void prepare(Group& group) override { experts_->prepare(group); }
  void leave_out(StageSet stages) override {
    ParallelPath::leave_out(stages);
    experts_->leave_out(stages);
  }
  void make_plan(Group& group, StageListener* listener) override {
    if (packs_rows()) make_rows(group.team(), listener);
    experts_->make_plan(group, listener);
    take_counts(group, *experts_);
  }

  void forward(Group& group, StageListener* listener) override {
    ThreadTeam& team = group.team();
    if (!packs_rows()) make_rows(team, listener);
    experts_->forward(group, listener);
    take_counts(group, *experts_);
    if (has_shared()) block_.forward_shared(forward_pass(team, listener));
    if (!begins(listener, block_.spec().left_out, Stage::latent)) return;
    if (has_norm()) make_norm(team);
    // y already holds the shared expert's rows if there is one; the product is then added to them.
    gemm_->input_grad(team, offset_, {own(inputs_.latent.n)}, inputs_.weights.latent.up, {y_, has_shared()});
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    clear_unwritten();
    ThreadTeam& team = group.team();
    const LatentRows& rows = inputs_.latent;
    const StageSet left_out = block_.spec().left_out;
    if (begins(listener, left_out, Stage::latent_grad)) {
      const RowSource dy{dy_, nullptr, dy_scale};
      gemm_->forward(team, offset_, dy, inputs_.weights.latent.up, {.c = own(rows.dn)});
      gemm_->weight_grad(team, offset_, dy, {own(rows.n)}, grad_.up);
      if (has_norm()) make_norm_grad(team);
    }
    experts_->backward(group, 1, listener);
    take_counts(group, *experts_);
    if (has_shared()) block_.backward_shared(backward_pass(team, dy_scale, listener));
    if (begins(listener, left_out, Stage::latent_grad)) {
      gemm_->weight_grad(team, offset_, {x_}, {own(rows.dz)}, grad_.down);
      gemm_->input_grad(team, offset_, {own(rows.dz)}, inputs_.weights.latent.down, {dx_, has_shared()});
    }
    if (offsets_.empty()) return;
    enter(listener, Stage::reduce_grad);
    if (shared_gradient_) shared_gradient_->reduce(group, has_shared());
    reduce(group);
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    experts_->spoil_work_space(spoil);
    gemm_->visit_work_space(spoil);
    const LatentRows& rows = inputs_.latent;
    for (const MatView* of : {&rows.z, &rows.r, &rows.n, &rows.dn, &rows.dr, &rows.dz})
      if (of->data != nullptr) visit_matrix(own(*of), spoil);
    visit_vector(norm_sums_, spoil);
    if (!offsets_.empty()) part_.view().visit(spoil);
    if (shared_gradient_) shared_gradient_->spoil_work_space(spoil);
  }

  const Block& routed_block() const override { return experts_->routed_block(); }
  double executed_flops() const override {
    const double product = 2 * static_cast<double>(x_.rows) * static_cast<double>(whole_.shape.hidden) *
                           static_cast<double>(whole_.shape.form.latent);
    return experts_->executed_flops() + block_.executed_flops() + product * (backward_too() ? 6 : 2);
  }

 private:
  void begin_step_of_part(Group& group) override { experts_->begin_step(group); }
  void take_tokens() override {
    block_.set_tokens(num_tokens(), {0, x_.rows});
    offset_[1] = x_.rows;
    experts_->bind(routed_inputs(inputs_, whole_));
  }

  // Returns true if making the plan packs rows of z, which then have to be made before it.
  bool packs_rows() const { return experts_->routed_block().spec().packs_rows(); }
  void make_rows(ThreadTeam& team, StageListener* listener) {
    if (!begins(listener, block_.spec().left_out, Stage::latent)) return;
    gemm_->forward(team, offset_, {x_}, inputs_.weights.latent.down, {.c = own(inputs_.latent.z)});
  }

  bool has_norm() const { return whole_.shape.form.latent_norm > 0; }
  double eps() const { return whole_.shape.form.latent_norm; }
  // Returns the rows of the device's own tokens, or all rows on a path that replicates tokens.
  MatView own(const MatView& rows) const {
    const Range tokens = shards_tokens(whole_) ? own_tokens() : Range{0, num_tokens()};
    return rows.slice_rows(tokens.begin, tokens.end);
  }

  void make_norm(ThreadTeam& team) {
    const MatView r = own(inputs_.latent.r), n = own(inputs_.latent.n);
    const float* weight = vector_of(inputs_.weights.latent.norm, 0);
    team.parallel_for(r.rows, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float inverse = inverse_rms(r, t, eps());
        for (int64_t c = 0; c < r.cols; ++c) n.set(t, c, r.at(t, c) * inverse * weight[c]);
      }
    });
  }

  // Computes the gradient of r -> r / rms(r) * weight. With u = r / rms(r) and g = dn weight it is dr = (g -
  // u mean(g u)) / rms(r).
  void make_norm_grad(ThreadTeam& team) {
    const MatView r = own(inputs_.latent.r), dn = own(inputs_.latent.dn), dr = own(inputs_.latent.dr);
    const float* weight = vector_of(inputs_.weights.latent.norm, 0);
    const int64_t num_parts = (r.rows + kNormTokens - 1) / kNormTokens;
    team.parallel_for(num_parts, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        float* sums = norm_sums_.data() + part * r.cols;
        std::fill_n(sums, r.cols, 0.0f);
        for (int64_t t = part * kNormTokens; t < std::min(r.rows, (part + 1) * kNormTokens); ++t) {
          const float inverse = inverse_rms(r, t, eps());
          float mean = 0;
          for (int64_t c = 0; c < r.cols; ++c) {
            const float u = r.at(t, c) * inverse;
            sums[c] += dn.at(t, c) * u;
            mean += dn.at(t, c) * weight[c] * u;
          }
          mean /= static_cast<float>(r.cols);
          for (int64_t c = 0; c < r.cols; ++c)
            dr.set(t, c, inverse * (dn.at(t, c) * weight[c] - r.at(t, c) * inverse * mean));
        }
      }
    });
    // The partial sums are added in a fixed order, after all threads are done.
    float* const sum = vector_of(grad_.norm, 0);
    std::fill_n(sum, r.cols, 0.0f);
    for (int64_t part = 0; part < num_parts; ++part) {
      for (int64_t c = 0; c < r.cols; ++c) sum[c] += norm_sums_[static_cast<size_t>(part * r.cols + c)];
    }
  }

  // Sums the weight gradients over devices. Each device ends with its share of the elements, in the gradients
  // of the run.
  void reduce(Group& group) {
    const LatentWeights& sums = inputs_.weights.latent_grad;
    for (size_t i = 0; i < sums.parts().size(); ++i) {
      const WeightView &part = *grad_.parts()[i], &sum = *sums.parts()[i];
      if (sum.data == nullptr) continue;
      for (int r = 0; r <= group.size(); ++r)
        offsets_[static_cast<size_t>(r)] = sum.group_elements() * r / group.size();
      const int64_t begin = offsets_[static_cast<size_t>(group.rank())];
      char* const own_part =
          static_cast<char*>(sum.data) + begin * static_cast<int64_t>(dtype_bytes(sum.dtype));
      group.reduce_scatter(part.data, part.dtype, offsets_, own_part, sum.dtype);
    }
  }

  const RunConfig whole_;
  std::unique_ptr<ParallelPath> experts_;
  std::unique_ptr<GroupedGemm> gemm_;
  std::vector<int64_t> offset_{0, 0};  // one group of all own tokens
  LatentWeights grad_;                 // this device's part
  OwnedLatent part_;                   // the memory of grad_ if there are several devices
  std::vector<int64_t> offsets_;       // [P + 1] elements; empty for one device
  std::vector<float> norm_sums_;       // [parts of the own tokens, H']
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

LatentMemory::LatentMemory(const RunConfig& config, Range held) {
  const MoeShape& shape = config.shape;
  if (shape.form.latent == 0) return;
  const bool backward = config.block.pass == Pass::forward_backward, norm = shape.form.latent_norm > 0;
  const auto rows = [&](bool there) {
    return there ? Matrix::tight(std::max<int64_t>(1, held.size()), shape.form.latent, shape.dtype)
                 : Matrix{};
  };
  z_ = rows(true), r_ = rows(true), n_ = rows(norm);
  dr_ = rows(backward), dz_ = rows(backward), dn_ = rows(backward && norm);
}

LatentRows LatentMemory::views(int64_t tokens, int64_t first) const {
  const auto among_all = [&](const Matrix& rows) -> MatView {
    const MatView own = rows, all = z_;  // rows that a pass does not have are rows without memory
    const int64_t row_bytes = all.cols * static_cast<int64_t>(dtype_bytes(all.dtype));
    return {before(own.data, first, row_bytes), all.dtype, tokens, all.cols, all.cols};
  };
  LatentRows rows{among_all(z_),  among_all(r_),  among_all(n_),
                  among_all(dn_), among_all(dr_), among_all(dz_)};
  if (rows.n.data == nullptr) rows.n = rows.r;
  if (rows.dn.data == nullptr) rows.dn = rows.dr;
  return rows;
}

double LatentMemory::bytes(const RunConfig& config, int64_t held_tokens) {
  const ExpertForm& form = config.shape.form;
  const int norm = form.latent_norm > 0 ? 1 : 0;
  const int matrices = config.block.pass == Pass::forward_backward ? 4 + 2 * norm : 2 + norm;
  return matrices * static_cast<double>(held_tokens * form.latent) *
         static_cast<double>(dtype_bytes(config.shape.dtype));
}

std::unique_ptr<ParallelPath> make_latent_path(const PathInputs& inputs) {
  return std::make_unique<LatentPath>(inputs);
}

}  // namespace moehill
