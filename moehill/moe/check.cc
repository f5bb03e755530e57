// This file runs the check of a block and makes the verdict: it calls the audit (moe/audit.h) for all rows
// and the oracle (moe/oracle.h) for the sample, and joins the findings of all processes in one CheckResult.
#include "moehill/moe/check.h"

#include <chrono>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/moe/audit.h"
#include "moehill/moe/audit_latent.h"
#include "moehill/moe/check_selection.h"
#include "moehill/moe/oracle.h"
#include "moehill/moe/router_check.h"

namespace moehill {
namespace {

// Verdict collects the findings about each tensor and decides passed, failed or mistrusted.
class Verdict {
 public:
  // Adds a tensor's audit. y is the forward result; all other names are gradients.
  void add(const TensorAudit& audit, bool may_be_zero) {
    if (audit.zero_reference && !may_be_zero) {
      result_.zero_reference = true;
      doubt(fmt::format("the reference of {} is zero: nothing to compare with", audit.tensor));
    }
    if (!audit.failure.empty()) fail(audit.failure);
    result_.what += (result_.what.empty() ? "" : ", ") + audit.tensor;
    if (audit.numbers.worst() > result_.worst_bounds) {
      result_.worst_bounds = audit.numbers.worst();
      result_.worst_number = audit.tensor + " " + audit.worst;
    }
  }

  // Adds the relative errors of a tensor's rows. `label(index)` names a row.
  template <typename Label>
  void add_accuracy(const std::string& tensor, const RowComparison& rows, const Label& label) {
    const RowComparison::Result compared = rows.result();
    result_.num_sampled_rows += rows.num_rows();
    take_accuracy(tensor, compared.rel_err, compared.worst_index < 0 ? "" : label(compared.worst_index));
  }
  void take_accuracy(const std::string& tensor, double rel_err, const std::string& row) {
    (tensor == "y" ? result_.forward_rel_err : result_.grad_rel_err[tensor]) = rel_err;
    if (row.empty() || rel_err < worst_rel_err_) return;
    worst_rel_err_ = rel_err;
    result_.worst_row = fmt::format("{} {}: {:.1e}", tensor, row, rel_err);
  }

  void fail(const std::string& why) {
    failed_ = true;
    add_reason(failures_, why);
  }
  void doubt(const std::string& why) {
    mistrusted_ = true;
    add_reason(doubts_, why);
  }
  CheckResult& result() { return result_; }

  CheckResult finish() {
    result_.numbers_ok = !failed_;
    result_.status = failed_       ? CheckStatus::failed
                     : mistrusted_ ? CheckStatus::mistrusted
                                   : CheckStatus::passed;
    result_.reason = failed_ ? failures_ : doubts_;
    return result_;
  }

 private:
  static void add_reason(std::string& reasons, const std::string& why) {
    reasons += reasons.empty() ? why : "; " + why;
  }

  CheckResult result_;
  bool failed_ = false, mistrusted_ = false;
  std::string failures_, doubts_;
  double worst_rel_err_ = 0;
};

std::string token_label(int64_t token) { return fmt::format("token {}", token); }
std::string shared_label(int64_t row) { return fmt::format("row {}", row); }

RowComparison compare_tokens(std::span<const int64_t> tokens, const MatView& actual,
                             const Dense<double>& reference) {
  RowComparison rows;
  std::vector<float> row(static_cast<size_t>(actual.cols));
  for (size_t i = 0; i < tokens.size(); ++i) {
    read_row(actual, tokens[i], row.data());
    rows.add_row(tokens[i], row, reference.row_span(static_cast<int64_t>(i)));
  }
  return rows;
}

// Compares dp [T, k] or dlogits [T, E]. They are differences of large terms, so the errors of small rows are
// measured against the median row.
RowComparison compare_tokens(std::span<const int64_t> tokens, const float* actual,
                             const Dense<double>& reference) {
  RowComparison rows(RowComparison::kMedianFloor);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::span<const float> row{actual + tokens[i] * reference.cols,
                                     static_cast<size_t>(reference.cols)};
    rows.add_row(tokens[i], row, reference.row_span(static_cast<int64_t>(i)));
  }
  return rows;
}

// Adds each row r of a matrix, which is row `first + numbers[r]` of the tensor.
void compare_rows(const Dense<float>& actual, const Dense<double>& reference, int64_t first,
                  std::span<const int64_t> numbers, RowComparison& rows) {
  for (int64_t r = 0; r < actual.rows; ++r)
    rows.add_row(first + numbers[static_cast<size_t>(r)], actual.row_span(r), reference.row_span(r));
}

// ExpertComparison compares the gradients of one expert or of several with the oracle's.
struct ExpertComparison {
  RowComparison w1, w2, w3, b1, b2, b3;
  ExpertColumns actual;  // memory that all experts use again

  void pass(Parcel& parcel) {
    for (RowComparison* rows : {&w1, &w2, &w3, &b1, &b2, &b3}) rows->pass(parcel);
  }
  void add(const ExpertComparison& other) {
    w1.add_rows(other.w1, 0), w2.add_rows(other.w2, 0), w3.add_rows(other.w3, 0);
    b1.add_rows(other.b1, 0), b2.add_rows(other.b2, 0), b3.add_rows(other.b3, 0);
  }

  void add(const BlockTensors& tensors, int expert, std::span<const int64_t> columns,
           const ExpertGradients& reference, ThreadTeam& team) {
    const bool shared = expert == kSharedExpert;
    const int64_t hidden = tensors.shape.hidden;
    const int64_t width = shared ? tensors.shape.shared_dim : tensors.shape.mlp_dim;
    const int64_t number = shared ? 0 : expert;  // the expert's index in the tensor
    const std::vector<int64_t> all_rows = indices_up_to(hidden);
    read_expert(tensors.gradients, expert, columns, team, actual);
    compare_rows(actual.w1, reference.dw1, number * hidden, all_rows, w1);
    if (reference.dw3.rows > 0) compare_rows(actual.w3, reference.dw3, number * hidden, all_rows, w3);
    compare_rows(actual.w2, reference.dw2, number * width, columns, w2);
    const std::vector<int64_t> only{0};
    if (reference.db1.rows > 0) compare_rows(actual.b1, reference.db1, number, only, b1);
    if (reference.db3.rows > 0) compare_rows(actual.b3, reference.db3, number, only, b3);
    if (reference.db2.rows > 0) compare_rows(actual.b2, reference.db2, number, only, b2);
  }
};

// Sampled is the comparison of the drawn rows with the double-precision block, by one process or by all.
struct Sampled {
  RowComparison y, dx, dp{RowComparison::kMedianFloor}, dlogits{RowComparison::kMedianFloor};
  ExpertComparison routed, shared;
  RowComparison wire_y, wire_dx;  // the block in double with a wire against the block in double without one
  std::string y_failure, dx_failure, router_failure, operands_failure;

  void pass(Parcel& parcel) {
    for (RowComparison* rows : {&y, &dx, &dp, &dlogits, &wire_y, &wire_dx}) rows->pass(parcel);
    routed.pass(parcel), shared.pass(parcel);
    parcel(y_failure), parcel(dx_failure), parcel(router_failure), parcel(operands_failure);
  }
  void add(const Sampled& other) {
    y.add_rows(other.y, 0), dx.add_rows(other.dx, 0);
    dp.add_rows(other.dp, 0), dlogits.add_rows(other.dlogits, 0);
    wire_y.add_rows(other.wire_y, 0), wire_dx.add_rows(other.wire_dx, 0);
    routed.add(other.routed), shared.add(other.shared);
    if (y_failure.empty()) y_failure = other.y_failure;
    if (dx_failure.empty()) dx_failure = other.dx_failure;
    // Ranks are in the order of their tokens, so the first failure stays.
    if (router_failure.empty()) router_failure = other.router_failure;
    if (operands_failure.empty()) operands_failure = other.operands_failure;
  }
};

void report_weight_gradients(const MoeShape& shape, const Sampled& sampled, Verdict& verdict) {
  const auto label = [](int64_t rows_per_expert) {
    return [rows_per_expert](int64_t row) {
      return fmt::format("expert {} row {}", row / rows_per_expert, row % rows_per_expert);
    };
  };
  const ExpertComparison &routed = sampled.routed, &shared = sampled.shared;
  verdict.add_accuracy("dw1", routed.w1, label(shape.hidden));
  verdict.add_accuracy("dw2", routed.w2, label(shape.mlp_dim));
  const bool gated = shape.form.activation.gated;
  if (gated) verdict.add_accuracy("dw3", routed.w3, label(shape.hidden));
  if (shape.form.biases) {
    verdict.add_accuracy("db1", routed.b1, label(1));
    verdict.add_accuracy("db2", routed.b2, label(1));
    if (gated) verdict.add_accuracy("db3", routed.b3, label(1));
  }
  if (shape.shared_dim == 0) return;
  verdict.add_accuracy("ds1", shared.w1, shared_label);
  verdict.add_accuracy("ds2", shared.w2, shared_label);
  if (gated) verdict.add_accuracy("ds3", shared.w3, shared_label);
}

// Returns a text about the first sampled row whose error is too large for the variance that the audit gives
// the row, or "".
std::string row_failure(const std::string& tensor, const RowComparison& rows,
                        const std::vector<double>& variance) {
  for (const RowComparison::Row& row : rows.rows()) {
    const double bound = kMaxBounds * std::sqrt(variance[static_cast<size_t>(row.index)]);
    if (row.difference <= bound) continue;
    return fmt::format("{} {} is off by {:.1e} against the double-precision block, {:.1e} allowed", tensor,
                       token_label(row.index), unsigned_nan(row.difference), bound);
  }
  return "";
}

// Returns which entries of the sorted list `tokens` belong to a process's range of tokens.
Range places_of(std::span<const int64_t> tokens, Range own) {
  const auto place = [&](int64_t t) {
    return std::lower_bound(tokens.begin(), tokens.end(), t) - tokens.begin();
  };
  return {place(own.begin), place(own.end)};
}

// Returns the reference of this process's tokens among `tokens`. Each process adds the part of its own
// experts, and the first process also adds the part of the shared expert.
TokenResult own_reference(const CheckShare& share, std::span<const int64_t> tokens, const LossGradient& dy,
                          ThreadTeam& team) {
  const BlockTensors& t = share.tensors;
  TokenResult sum = run_oracle_experts(t, tokens, dy, team, [&](int e) {
    return e == kSharedExpert ? share.is_first() : share.has_expert(e);
  });
  std::vector<Range> places;
  for (const Range& own : share.tokens) places.push_back(places_of(tokens, own));
  std::vector<SummedRows> rows;
  for (Dense<double>* m : {&sum.y, &sum.dx, &sum.dp, &sum.dgate}) {
    if (m->rows > 0) rows.push_back({m->values.data(), m->cols});
  }
  sum_rows(share, places, rows);
  // A sum over processes is complete only in the process's own rows, so the others are cut away.
  const Range own = places[static_cast<size_t>(share.rank())];
  for (Dense<double>* m : {&sum.y, &sum.dx, &sum.dp, &sum.dgate, &sum.dlogits}) {
    if (m->rows == 0) continue;
    m->values.resize(static_cast<size_t>(own.end * m->cols));
    m->values.erase(m->values.begin(), m->values.begin() + own.begin * m->cols);
    m->rows = own.size();
  }
  finish_oracle_tokens(t, tokens.subspan(static_cast<size_t>(own.begin), static_cast<size_t>(own.size())), dy,
                       sum);
  return sum;
}

// Compares the block in double whose rows pass the wire with the block in double whose rows do not, for this
// process's own tokens. The difference is the error of the wire alone.
void compare_wire(const CheckShare& share, const CheckSelection& selection, bool backward, ThreadTeam& team,
                  Sampled& sampled) {
  const LossGradient dy = backward ? LossGradient(share.tensors) : LossGradient(nullptr);
  CheckShare as_sent = share;
  as_sent.tensors.far = nullptr;
  share.bring(TokensOfProcesses(share.tokens.size(), selection.tokens));
  const TokenResult with = own_reference(share, selection.tokens, dy, team),
                    without = own_reference(as_sent, selection.tokens, dy, team);
  const int64_t first = places_of(selection.tokens, share.own_tokens()).begin;
  const auto compare = [&](const Dense<double>& a, const Dense<double>& b, RowComparison& rows) {
    for (int64_t i = 0; i < a.rows; ++i) {
      const std::vector<float> arrived(a.row(i), a.row(i) + a.cols);
      rows.add_row(selection.tokens[static_cast<size_t>(first + i)], arrived, b.row_span(i));
    }
  };
  compare(with.y, without.y, sampled.wire_y);
  compare(with.dx, without.dx, sampled.wire_dx);
}

// Returns the norm of all differences, divided by the norm of all references.
double relative_norm(const RowComparison& rows) {
  double differences = 0, references = 0;
  for (const RowComparison::Row& row : rows.rows()) {
    differences += row.difference * row.difference;
    references += row.reference * row.reference;
  }
  return references > 0 ? std::sqrt(differences / references) : 0;
}

WireError wire_error(const Sampled& sampled) {
  return {sampled.wire_y.num_rows(), sampled.wire_y.result().rel_err, relative_norm(sampled.wire_y),
          sampled.wire_dx.result().rel_err, relative_norm(sampled.wire_dx)};
}

// Compares the sampled experts one after the other. The process that owns an expert first gets the rows of
// all of that expert's tokens.
void sample_experts(const CheckShare& share, const CheckSelection& selection, const LossGradient& dy,
                    ThreadTeam& team, Sampled& sampled) {
  const BlockTensors& t = share.tensors;
  for (const int e : selection.experts) {
    TokensOfProcesses tokens(share.tokens.size());
    tokens[static_cast<size_t>(share.owner[static_cast<size_t>(e)])] = tokens_of_experts(t, {e});
    share.bring(tokens);
    if (!share.has_expert(e)) continue;
    sampled.routed.add(t, e, selection.columns, run_oracle_expert(t, e, selection.columns, dy, team), team);
  }
}

void sample(const CheckShare& share, const AuditResult& audit, const CheckSelection& selection, bool backward,
            ThreadTeam& team, Sampled& sampled) {
  const BlockTensors& t = share.tensors;
  const LossGradient dy = backward ? LossGradient(t) : LossGradient(nullptr);
  share.bring(TokensOfProcesses(share.tokens.size(), selection.tokens));
  const TokenResult reference = own_reference(share, selection.tokens, dy, team);
  const Range places = places_of(selection.tokens, share.own_tokens());
  const std::span<const int64_t> tokens{selection.tokens.data() + places.begin,
                                        static_cast<size_t>(places.size())};
  sampled.y = compare_tokens(tokens, t.y, reference.y);
  sampled.y_failure = row_failure("y", sampled.y, audit.y_variance);
  if (!backward) return;
  sampled.dx = compare_tokens(tokens, t.dx, reference.dx);
  sampled.dx_failure = row_failure("dx", sampled.dx, audit.dx_variance);
  const bool routes = t.shape.topk > 0;
  if (routes) sampled.dp = compare_tokens(tokens, t.dp, reference.dp);
  if (routes && t.dlogits != nullptr) sampled.dlogits = compare_tokens(tokens, t.dlogits, reference.dlogits);
  sample_experts(share, selection, dy, team, sampled);
  if (t.shape.shared_dim == 0) return;
  // Each process computes its own tokens' part of the shared expert's gradients, and the first one compares
  // the sum.
  ExpertGradients d =
      run_oracle_expert(t, kSharedExpert, selection.shared_columns, dy, team, share.own_tokens());
  sum_values(share, 0, {&d.dw1.values, &d.dw2.values, &d.dw3.values});
  if (share.is_first()) sampled.shared.add(t, kSharedExpert, selection.shared_columns, d, team);
}

// Adds the samples of all processes to the sample of the first process.
void add_samples(const CheckShare& share, Sampled& sampled) {
  if (share.peers == nullptr) return;
  Parcel own;
  sampled.pass(own);
  std::vector<std::string> all = share.gather(own.bytes());
  for (size_t r = 1; r < all.size(); ++r) {
    Parcel came(std::move(all[r]));
    Sampled other;
    other.pass(came);
    sampled.add(other);
  }
}

void report_sample(const BlockTensors& tensors, bool backward, const Sampled& sampled, Verdict& verdict) {
  if (!sampled.y_failure.empty()) verdict.fail(sampled.y_failure);
  verdict.add_accuracy("y", sampled.y, token_label);
  if (!backward) return;
  if (!sampled.dx_failure.empty()) verdict.fail(sampled.dx_failure);
  verdict.add_accuracy("dx", sampled.dx, token_label);
  const bool routes = tensors.shape.topk > 0;
  if (routes) verdict.add_accuracy("dp", sampled.dp, token_label);
  if (routes && tensors.dlogits != nullptr) verdict.add_accuracy("dlogits", sampled.dlogits, token_label);
  report_weight_gradients(tensors.shape, sampled, verdict);
}

// Returns the number of rows of all tensors that the audit compares.
int64_t num_result_rows(const BlockTensors& tensors, bool backward) {
  const MoeShape& shape = tensors.shape;
  const bool rest = is_rest_of_latent(tensors), norm = rest && shape.form.latent_norm > 0;
  // y; around experts of another width also the rows z and n
  int64_t of_token = 1 + rest + norm;
  if (!backward) return of_token * shape.tokens;
  // dx; the experts' part has dp and dlogits, the part around it dn and dr
  of_token += rest ? 2 + norm : tensors.dlogits != nullptr ? 3 : 2;
  const int64_t up_rows = (shape.form.num_matrices() - 1) * shape.hidden;
  const int64_t biases = shape.form.biases ? shape.form.num_matrices() : 0, gate = shape.form.shared_gate;
  const int64_t products = tensors.weights.wg.num_columns + (rest ? 2 * shape.form.latent : 0) + norm;
  const int64_t weights = shape.experts * (up_rows + shape.mlp_dim + biases) +
                          (shape.shared_dim > 0 ? up_rows + shape.shared_dim + gate : 0) + products;
  return of_token * shape.tokens + weights;
}

}  // namespace

std::string to_string(const WireError& error) {
  if (error.tokens == 0) return "";
  const auto of = [](const char* tensor, double rms, double max) {
    return fmt::format("{:.1e} to {} (the worst row {:.1e})", rms, tensor, max);
  };
  return fmt::format("; the wire adds {}{} of {}", of("y", error.y_rms, error.y_max),
                     error.dx_max > 0 ? " and " + of("dx", error.dx_rms, error.dx_max) : "",
                     count_text(error.tokens, "token"));
}

double forward_limit(DType dtype) { return dtype == DType::f32 ? 1e-5 : 1e-2; }
double gradient_limit(DType dtype) { return dtype == DType::f32 ? 2e-5 : 2e-2; }

CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed,
                        ThreadTeam& team) {
  return check_block(CheckShare::whole(tensors), pass, mode, seed, team);
}

namespace {

CheckResult check_part(const CheckShare& share, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team) {
  const auto start = std::chrono::steady_clock::now();
  const BlockTensors& tensors = share.tensors;
  const bool backward = pass == Pass::forward_backward, full = mode == CheckMode::full;
  const bool product = tensors.weights.wg.rows() > 0;
  MOEHILL_CHECK(tensors.routing != nullptr, "a block without routing");
  MOEHILL_CHECK(!backward || tensors.dp != nullptr, "a backward pass without dp");
  // The audit goes over all rows. The sample, the wire and the router are compared in double precision as
  // well.
  const AuditResult audit = audit_block(share, pass, {full, seed}, team);
  Sampled sampled;
  if (!full) sample(share, audit, select_sample(tensors, seed), backward, team, sampled);
  if (tensors.far != nullptr) compare_wire(share, select_sample(tensors, seed), backward, team, sampled);
  if (tensors.router != nullptr) {
    sampled.router_failure =
        router_fault(*tensors.router, tensors.logits, *tensors.routing, share.own_tokens(), team);
    if (tensors.step_routing != nullptr && sampled.router_failure.empty()) {
      sampled.router_failure =
          router_fault(*tensors.router, tensors.logits, *tensors.step_routing, share.own_tokens(), team);
    }
  }
  if (product && sampled.router_failure.empty())
    sampled.router_failure = logits_fault(tensors, share.own_tokens(), seed);
  if (share.operands_fault) sampled.operands_failure = share.operands_fault(seed, team);
  // The first process gets the findings of all and judges them.
  add_samples(share, sampled);
  if (!share.is_first()) return {};
  Verdict verdict;
  if (!sampled.operands_failure.empty()) verdict.fail(sampled.operands_failure);
  for (const TensorAudit& tensor : audit.tensors) {
    // With one choice the softmax over the chosen is always 1, so gradients of logits are rightly zero.
    const bool of_router = tensor.tensor == "dlogits" || tensor.tensor == "dwg";
    verdict.add(tensor, of_router && tensors.shape.topk == 1);
    if (full) verdict.take_accuracy(tensor.tensor, tensor.rel_err, tensor.worst_row);
  }
  if (!sampled.router_failure.empty()) verdict.fail(sampled.router_failure);
  if (!audit.reference_holds)
    verdict.doubt("a product of the reference does not hold against its projection");
  if (audit.zero_expert >= 0) {
    verdict.doubt(fmt::format("the reference of expert {} is zero in all of its rows: nothing vouches for it",
                              audit.zero_expert));
  }
  if (!full) report_sample(tensors, backward, sampled, verdict);
  CheckResult& result = verdict.result();
  result.seed = seed;
  result.wire = wire_error(sampled);
  result.num_rows = num_result_rows(tensors, backward);
  result.how = full ? "all rows, every element, against the block in double"
                    : "all rows, by random projections, against a block computed apart; "
                      "rows drawn by the seed against the block in double";
  if (tensors.far != nullptr)
    result.how += fmt::format("; rows between nodes as {}, by its definition", name_of(tensors.wire));
  if (tensors.router != nullptr) result.how += "; the router's choices and gate values against its logits";
  if (product) result.how += ", which are compared with x W_g";
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return verdict.finish();
}

// Returns the largest relative error of a result, which is that of its worst row.
double largest_rel_err(const CheckResult& result) {
  double largest = result.forward_rel_err;
  for (const auto& [tensor, error] : result.grad_rel_err) largest = std::max(largest, error);
  return largest;
}

}  // namespace

CheckResult join_parts(const CheckResult& rest, const CheckResult& experts) {
  CheckResult all = rest;
  if (badness(experts.status) > badness(rest.status)) all.status = experts.status;
  all.numbers_ok = rest.numbers_ok && experts.numbers_ok;
  all.zero_reference = rest.zero_reference || experts.zero_reference;
  all.forward_rel_err = std::max(rest.forward_rel_err, experts.forward_rel_err);
  for (const auto& [tensor, error] : experts.grad_rel_err)
    all.grad_rel_err[tensor == "dx" ? "latent_dz" : tensor] = error;
  const std::string where = "in rows of the experts' width: ";
  // y and dx of the experts' part are other rows than those of the block.
  if (!experts.worst_row.empty() &&
      (rest.worst_row.empty() || largest_rel_err(experts) > largest_rel_err(rest)))
    all.worst_row = where + experts.worst_row;
  if (!experts.reason.empty()) all.reason += (all.reason.empty() ? "" : "; ") + where + experts.reason;
  all.what += "; " + where + experts.what;
  all.num_rows += experts.num_rows;
  all.num_sampled_rows += experts.num_sampled_rows;
  if (experts.worst_bounds > all.worst_bounds) {
    all.worst_bounds = experts.worst_bounds;
    all.worst_number = where + experts.worst_number;
  }
  all.wire = experts.wire;
  all.how = experts.how;
  all.seconds += experts.seconds;
  return all;
}

namespace {

CheckResult check_parts(const CheckShare& share, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team) {
  if (share.tensors.shape.form.latent == 0) return check_part(share, pass, mode, seed, team);
  const CheckResult rest = check_part(rest_of_latent(share), pass, mode, seed, team);
  // The first part has compared the operands of both parts already.
  CheckShare of_experts = experts_of_latent(share);
  of_experts.operands_fault = nullptr;
  const CheckResult experts = check_part(of_experts, pass, mode, seed, team);
  return share.is_first() ? join_parts(rest, experts) : CheckResult{};
}

}  // namespace

CheckResult check_block(const CheckShare& share, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team) {
  if (mode == CheckMode::off) return {};
  CheckResult result = check_parts(share, pass, mode, seed, team);
  if (share.operands_fault && share.is_first())
    result.how += "; x and drawn rows and columns of the weights against what they were filled with";
  return result;
}

// Besides the audit's memory the sample needs the rows of one expert in double, and as many rows of
// gradients.
double check_bytes(const MoeShape& shape, Pass pass, CheckMode mode, const Auditors& auditors) {
  if (mode == CheckMode::off) return 0;
  if (shape.form.latent > 0) {
    MoeShape experts = shape, rest = shape;
    experts.hidden = shape.form.latent;
    experts.shared_dim = experts.form.latent = rest.form.latent = 0;
    rest.experts = rest.topk = 0;
    return std::max(check_bytes(experts, pass, mode, auditors), check_bytes(rest, pass, mode, auditors)) +
           40.0 * static_cast<double>(shape.tokens * shape.form.latent);
  }
  const double audit = audit_bytes(shape, pass, mode == CheckMode::full, auditors);
  const double rows = 8.0 * static_cast<double>(std::min(shape.tokens, kOracleRows) * shape.hidden);
  return audit + (mode == CheckMode::sample && pass == Pass::forward_backward ? 2 * rows : 0);
}

}  // namespace moehill
