// Rows around experts of another width than the model's, as the audit has them: each stored tensor against
// what it is made of, in double, for the tokens of a process.
//
// The block is audited in two parts that meet in stored rows: the experts over rows of H', whose x is z,
// whose y is r, whose dy is dr and whose dx is dz; and the rest, for which r and dz are given. Every row of
// every tensor is a result in one part, so a wrong one shows where it is made.
#pragma once

#include <string>
#include <vector>

#include "moehill/moe/audit_strip.h"
#include "moehill/moe/check_share.h"

namespace moehill {

// The two parts of a share whose block has a latent width.
CheckShare experts_of_latent(const CheckShare& share);
CheckShare rest_of_latent(const CheckShare& share);
// True for the rest, which has no experts.
inline bool is_rest_of_latent(const BlockTensors& tensors) { return tensors.latent.z.data != nullptr; }

// Numbers that were found for the rows of a tensor.
struct LatentNumbers {
  std::string tensor;                // latent_z, latent_n, latent_dn, latent_dr
  std::vector<Deviations> of_token;  // [T]
  Estimate reference;                // [T, numbers of a token]
};
// z = x down and dn = dy up in one number a token, which is its row with weights that are random by the seed;
// with a norm n of r and dr of dn element by element.
std::vector<LatentNumbers> latent_numbers(const AuditContext& context, Range tokens);

// [1, H'] the part of the gradient of the norm's weights that is of these tokens.
Estimate norm_gradient(const AuditContext& context, Range tokens);

}  // namespace moehill
