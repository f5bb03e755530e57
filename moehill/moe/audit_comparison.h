// TokenComparison compares the sums that an audit has made for each token with the stored results: the rows
// of y and dx, then dp, and dlogits, whose reference it makes from dp. It judges single tokens at once, and
// notes what it finds about groups of tokens, which several processes may have (moe/audit_judge.h).
//
//   TokenComparison comparison(share, context, judge, assignments, team, found);
//   comparison.compare(sums, result);
#pragma once

#include <string>
#include <vector>

#include "moehill/moe/audit.h"
#include "moehill/moe/audit_judge.h"
#include "moehill/moe/audit_terms.h"

namespace moehill {

// TokenSums are the references of a block's results by token.
struct TokenSums {
  Estimate y, dx;                // [T, blocks of H]; dx in units of dy = y
  Estimate dp;                   // [T, k], in the same units
  AuditTerms y_terms, dx_terms;  // the terms of y and dx
  std::vector<char> reached;     // [T] 1 if an expert computes something for the token
};

class TokenComparison {
 public:
  // All of these must outlive this object. assignments: [E], those that the experts compute.
  TokenComparison(const CheckShare& share, const AuditContext& context, const AuditJudge& judge,
                  const std::vector<AuditAssignments>& assignments, ThreadTeam& team, AuditFindings& found)
      : share_(share),
        own_(share.own_tokens()),
        context_(context),
        judge_(judge),
        assignments_(assignments),
        team_(team),
        found_(found) {}

  // Compares the own tokens, and sets their variances in the result. The sums are used up: dx gets what a
  // router in the step adds to it, and exact references change to the units of the stored values.
  void compare(TokenSums& sums, AuditResult& result);

  // Judges the own tokens, and adds them up in total and by expert, because an error of a single expert shows
  // only in the sum of that expert.
  void add_tokens(const std::vector<Deviations>& of_token, const Estimate& reference,
                  TokenFindings& found) const;

 private:
  // Rows are the stored rows of y or dx [T, H] and their reference. `scale` turns a stored value into the
  // units of the reference.
  struct Rows {
    std::string name;
    const MatView& stored;
    double scale;
    Estimate& reference;
    const AuditTerms& terms;
  };
  void compare_rows(const Rows& rows, const std::vector<char>& reached, std::vector<double>& row_variance);
  void compare_small(const std::string& name, const float* stored, Estimate reference);
  Estimate logit_gradients(const Estimate& dp) const;

  const CheckShare& share_;
  const Range own_;  // the tokens of this process
  const AuditContext& context_;
  const AuditJudge& judge_;
  const std::vector<AuditAssignments>& assignments_;
  ThreadTeam& team_;
  AuditFindings& found_;
};

}  // namespace moehill
