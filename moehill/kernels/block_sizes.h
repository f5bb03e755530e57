// BlockSizes: the sizes by which our grouped GEMM cuts its products, as values that can be chosen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// The products of a gated MLP go one of two ways: into the expert's width (up, and the gradient dh), or out
// of it to the model's width (down, and the gradient dx).
enum class Product { to_width, to_hidden };

// The defaults are for 32 KiB L1, 512 KiB L2 and 4 MiB or more of L3 a core. What each must fit:
// docs/metrics.md. Weight gradients run over rows and have sizes of their own (gmm_model.h).
struct BlockSizes {
  int64_t bt = 288;  // rows packed together for one unit
  int64_t bf =
      2048;  // depth packed together to_hidden: the activation block; a unit to_width makes 2 bf columns
  int64_t bd1 = 2048;  // depth packed together to_width
  int64_t bd2 = 4096;  // columns of a unit to_hidden
  int64_t btc = 288;   // rows that one block of B meets before the next block of B
  int64_t bfc = 256;   // depth of a tile call to_hidden
  int64_t bd1c = 256;  // depth of a tile call to_width
  int64_t bd2c = 128;  // columns that share a pass over the packed rows

  bool operator==(const BlockSizes&) const = default;
};

// The block sizes as one of the two ways sees them.
struct ProductBlocks {
  int64_t rows, call_rows;  // packed together; meeting one block of B
  int64_t depth,
      call_depth;  // packed together; of a tile call (half of it where single values are transposed first)
  int64_t unit_panels;  // columns / 16
  int64_t pass_panels;
};
ProductBlocks blocks_of(const BlockSizes& sizes, Product product);

// Name and value of each size, in the order of the struct.
struct BlockSizeField {
  const char* name;
  int64_t BlockSizes::*value;
};
const std::vector<BlockSizeField>& block_size_fields();

// "bt=288,bf=2048,...", every size.
std::string to_string(const BlockSizes& sizes);

// Throws InputError that names the size and its limit: each within its range and a multiple of its step, no c
// form above the block it is a part of, packed rows of at most 64 MiB.
void refuse_illegal_blocks(const BlockSizes& sizes);

// "bt=64,bf=1024": sizes by name over the defaults; a c form that is not given is cut to the block it is a
// part of. Throws InputError for an illegal set.
BlockSizes parse_blocks(const std::string& text);

}  // namespace moehill
