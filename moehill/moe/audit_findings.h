// AuditFindings are the findings of one process in an audit. A Parcel carries them to the first process,
// which adds up the findings of all processes. AuditJudge then judges them.
#pragma once

#include <array>
#include <vector>

#include "moehill/moe/audit_strip.h"
#include "moehill/moe/tensor_numbers.h"

namespace moehill {

// TokenFindings are about y, dx, dp or dlogits: the numbers of the process's own tokens, each judged by
// itself, and sums for groups of tokens that several processes have.
struct TokenFindings {
  TensorNumbers numbers;
  std::vector<Deviations> of_expert, of_block;  // [E], [blocks of H]
  Deviations all;
  std::vector<Deviations> of_term{};  // of y and dx only: along their terms (moe/audit_terms.h)

  void pass(Parcel& parcel) {
    numbers.pass(parcel);
    parcel(of_expert), parcel(of_block), parcel(all), parcel(of_term);
  }
  void add(const TokenFindings& other) {
    numbers.add(other.numbers);
    add(other.of_expert, of_expert), add(other.of_block, of_block), add(other.of_term, of_term);
    all.add(other.all);
  }

 private:
  static void add(const std::vector<Deviations>& from, std::vector<Deviations>& to) {
    for (size_t i = 0; i < to.size(); ++i) to[i].add(from[i]);
  }
};

// AuditFindings are all findings of a process. "Own" tokens, experts and strips belong to the process.
struct AuditFindings {
  std::vector<TokenFindings> tokens;              // y, dx, dp, dlogits
  std::vector<TensorNumbers> of_experts;          // dw1, dw2, dw3, db1, db2, db3 of the own experts
  std::array<GradientAudit, 3> of_shared;         // ds1, ds2, ds3 of the own strips
  std::vector<double> gate_value, gate_variance;  // [blocks of H] dsg of the own tokens
  // The own tokens' part of the gradients of matrices that all tokens share, transposed: dwg [L, blocks of
  // H], dlatent_down and dlatent_up [H', blocks of H], and dlatent_norm [1, H'].
  Estimate router, latent_down, latent_up, latent_norm;
  bool reference_holds = true;
  int64_t zero_expert = -1;  // of the own experts, see AuditResult

  void pass(Parcel& parcel) {
    for (TokenFindings& found : tokens) found.pass(parcel);
    for (TensorNumbers& found : of_experts) found.pass(parcel);
    for (GradientAudit& found : of_shared) found.pass(parcel);
    parcel(gate_value), parcel(gate_variance), parcel(reference_holds), parcel(zero_expert);
    for (Estimate* sum : {&router, &latent_down, &latent_up, &latent_norm})
      parcel(sum->value.values), parcel(sum->variance.values);
  }
  void add(const AuditFindings& other) {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i].add(other.tokens[i]);
    for (size_t i = 0; i < of_experts.size(); ++i) of_experts[i].add(other.of_experts[i]);
    for (size_t i = 0; i < of_shared.size(); ++i) of_shared[i].add(other.of_shared[i]);
    for (size_t b = 0; b < gate_value.size(); ++b) {
      gate_value[b] += other.gate_value[b];
      gate_variance[b] += other.gate_variance[b];
    }
    add(other.router, router), add(other.latent_down, latent_down), add(other.latent_up, latent_up);
    add(other.latent_norm, latent_norm);
    reference_holds = reference_holds && other.reference_holds;
    if (zero_expert < 0) zero_expert = other.zero_expert;
  }

 private:
  static void add(const Estimate& from, Estimate& to) {
    for (size_t i = 0; i < to.value.values.size(); ++i) {
      to.value.values[i] += from.value.values[i];
      to.variance.values[i] += from.variance.values[i];
    }
  }
};

}  // namespace moehill
