// This header audits the rows around experts whose width is not the model's. For the tokens of a process, it
// computes each of these tensors in double from the stored tensors before it, and compares.
//
// The audit takes such a block in two parts, which meet in stored rows. The first part is the experts over
// rows of H': their x is z, their y is r, their dy is dr and their dx is dz. The second part is the rest,
// which takes r and dz as given. Every row of every tensor is a result of one of the parts, so a wrong row
// shows where it is made. This header judges nothing (moe/audit_judge.h).
//
//   const CheckShare experts = experts_of_latent(share), rest = rest_of_latent(share);
//   for (const LatentNumbers& numbers : latent_numbers(context_of_rest, tokens)) judge(numbers);
#pragma once

#include <string>
#include <vector>

#include "moehill/moe/audit_strip.h"
#include "moehill/moe/check_share.h"

namespace moehill {

// These functions return the two parts of a share whose block has a latent width.
CheckShare experts_of_latent(const CheckShare& share);
CheckShare rest_of_latent(const CheckShare& share);
// True for the rest, which has no experts.
inline bool is_rest_of_latent(const BlockTensors& tensors) { return tensors.latent.z.data != nullptr; }

// LatentNumbers are the numbers of one tensor's rows, and how far they are off.
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
