// Audits the rows around experts of another width than the model's: each stored tensor is compared with what
// it is made of, in double, for the tokens of a process.
//
// The block is audited in two parts, which meet in stored rows. One is the experts over rows of H', whose x
// is z, whose y is r, whose dy is dr and whose dx is dz. The other is the rest, which takes r and dz as
// given. Every row of every tensor is a result in one of the parts, so a wrong row shows where it is made.
#pragma once

#include <string>
#include <vector>

#include "moehill/moe/audit_strip.h"
#include "moehill/moe/check_share.h"

namespace moehill {

// Return the two parts of a share whose block has a latent width.
CheckShare experts_of_latent(const CheckShare& share);
CheckShare rest_of_latent(const CheckShare& share);
// True for the rest, which has no experts.
inline bool is_rest_of_latent(const BlockTensors& tensors) { return tensors.latent.z.data != nullptr; }

// The numbers that were found for the rows of one tensor.
struct LatentNumbers {
  std::string tensor;                // latent_z, latent_n, latent_dn, latent_dr
  std::vector<Deviations> of_token;  // [T]
  Estimate reference;                // [T, numbers of a token]
};
// Returns numbers for z = x down and dn = dy up, one for each token: the row's projection with random
// weights. If there is a norm, also for n (from r) and dr (from dn), element by element.
std::vector<LatentNumbers> latent_numbers(const AuditContext& context, Range tokens);

// Returns [1, H']: the part of the gradient of the norm's weights that comes from these tokens.
Estimate norm_gradient(const AuditContext& context, Range tokens);

}  // namespace moehill
