#include "moehill/mesh/message_counts.h"

#include <bit>

namespace moehill {

std::vector<AgreementStep> agreement_steps(int num_nodes, int node) {
  const int num_doubling = static_cast<int>(std::bit_floor(static_cast<unsigned>(num_nodes)));
  constexpr int kNobody = AgreementStep::kNobody;
  if (node >= num_doubling) return {{node - num_doubling, kNobody}, {kNobody, node - num_doubling}};
  const int other = node + num_doubling < num_nodes ? node + num_doubling : kNobody;
  std::vector<AgreementStep> steps = {{kNobody, other}};
  for (int digit = 1; digit < num_doubling; digit *= 2) steps.push_back({node ^ digit, node ^ digit});
  steps.push_back({other, kNobody});
  return steps;
}

}  // namespace moehill
