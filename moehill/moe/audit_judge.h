// AuditJudge turns the findings of an audit into verdicts. It measures nothing. A process judges the groups
// of numbers that it has completely: its experts' gradients and its tokens' rows. The first process, which
// gets the findings of all, judges everything else.
//
//   const AuditJudge judge(context);
//   judge.judge_gradient({expert, num_tokens}, audit, num_rows, projection, numbers);   // in each process
//   const std::vector<TensorAudit> tensors = judge.judge(found, assignments);           // in the first one
#pragma once

#include <vector>

#include "moehill/moe/audit_findings.h"

namespace moehill {

// AuditJudge judges the numbers of one audit.
class AuditJudge {
 public:
  // The context must outlive this object.
  explicit AuditJudge(const AuditContext& context) : context_(context) {}

  struct Expert {
    int number;  // its number, or kSharedExpert
    int64_t num_tokens;
  };
  // Judges a gradient of one expert and adds the verdict to `numbers`.
  void judge_gradient(const Expert& expert, const GradientAudit& audit, int64_t num_rows, const Projection& p,
                      TensorNumbers& numbers) const;
  // Judges the row of one token.
  void add_token(int64_t token, const Deviations& of_token, TokenFindings& found) const;

  // Judges the findings of all processes and returns the result for each tensor. assignments: [E].
  std::vector<TensorAudit> judge(AuditFindings& found,
                                 const std::vector<AuditAssignments>& assignments) const;

 private:
  const MoeShape& shape() const { return context_.tensors.shape; }
  void judge_small(const Deviations& all, const GradientAudit& audit, int64_t num_independent,
                   const std::string& name, TensorNumbers& numbers) const;
  int64_t num_independent(const TokenFindings& found) const;
  std::string number_name(const TokenFindings& found, int64_t token, int64_t number) const;
  void judge_tokens(const std::vector<AuditAssignments>& assignments, TokenFindings& found) const;
  void judge_terms(TokenFindings& found) const;
  void judge_shared(AuditFindings& found, std::vector<TensorAudit>& tensors) const;
  void judge_shared_gate(AuditFindings& found, TensorNumbers& numbers) const;
  TensorAudit judge_product(const char* tensor, const LogicalWeights& stored,
                            const Estimate& reference) const;
  TensorAudit judge_norm(const Estimate& reference) const;

  const AuditContext& context_;
};

}  // namespace moehill
