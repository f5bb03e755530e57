// Hashes of the parts of a step's results: a token's row of y and of dx, an expert's gradients, dp and
// dlogits as a whole. Steps on different tokens have no part in common, so a part that a step kept shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/options.h"
#include "moehill/machine/thread_team.h"
#include "moehill/moe/tensors.h"

namespace moehill {

struct PartHashes {
  std::string tensor;  // y, dx, dp, dlogits, dw1 (with dw3 where they share memory), dw3, dw2, ds1, ds3, ds2
  std::vector<uint64_t>
      hash;  // of each part; 0: all zero, or less than 32 bytes, which other tokens may give as well
};

std::vector<PartHashes> hash_parts(const BlockTensors& tensors, Pass pass, ThreadTeam& team);

// The first part of two steps on different tokens that is the same, in words; empty: there is none.
std::string equal_part(const std::vector<PartHashes>& a, const std::vector<PartHashes>& b);

}  // namespace moehill
