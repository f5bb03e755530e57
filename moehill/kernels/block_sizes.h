// BlockSizes are the sizes by which this library's grouped GEMM cuts its products into pieces that fit the
// caches. They change the time of a product and never its result. `moehill tune` searches them, and
// `--blocks` sets them.
//
//   const BlockSizes sizes = parse_blocks("bt=64,bf=1024");   // the others keep their defaults
//   to_string(sizes);                                         // "bt=64,bf=1024,bd1=2048,..."
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// Product is one of the two kinds of products of an expert's MLP. A product leads to the expert's width (the
// up products, and the gradient dh), or from there to the model's width (the down product, and the gradient
// dx).
enum class Product { to_width, to_hidden };

// All sizes count rows or columns, not bytes. In a gated MLP a product to_width makes two columns, gate and
// up, for each result. The defaults are for 32 KiB of L1, 512 KiB of L2 and at least 4 MiB of L3 for each
// core; docs/metrics.md says which cache each size must fit. Weight gradients run over rows and have sizes of
// their own (gmm_model.h).
struct BlockSizes {
  int64_t bt = 288;    // rows that are packed together for one unit of work
  int64_t bf = 2048;   // depth that is packed together to_hidden; a unit to_width makes 2 bf columns
  int64_t bd1 = 2048;  // depth that is packed together to_width
  int64_t bd2 = 4096;  // columns of a unit to_hidden
  int64_t btc = 288;   // rows that meet one block of B before the next block of B is loaded
  int64_t bfc = 256;   // depth of a tile call to_hidden
  int64_t bd1c = 256;  // depth of a tile call to_width
  int64_t bd2c = 128;  // columns that share one pass over the packed rows

  bool operator==(const BlockSizes&) const = default;
};

// ProductBlocks are the block sizes of one of the two kinds of products.
struct ProductBlocks {
  int64_t rows, call_rows;  // rows packed together; rows that meet one block of B
  int64_t depth,
      call_depth;  // depth packed together; depth of a tile call (half of it if single values are transposed
                   // first)
  int64_t unit_panels;  // columns of a unit / 16
  int64_t pass_panels;  // columns of a pass / 16
};
ProductBlocks blocks_of(const BlockSizes& sizes, Product product);

// BlockSizeField is the name and the member of one size.
struct BlockSizeField {
  const char* name;
  int64_t BlockSizes::*value;
};
const std::vector<BlockSizeField>& block_size_fields();

// Returns all sizes as text: "bt=288,bf=2048,...".
std::string to_string(const BlockSizes& sizes);

// Throws InputError that names the size and its limit. Each size must be within its range and a multiple of
// its step; a size that ends in c must not be larger than the block of which it is a part; packed rows may
// take at most 64 MiB.
void refuse_illegal_blocks(const BlockSizes& sizes);

// Reads sizes by name; the others keep their defaults. A size that ends in c and is not given is cut to the
// block of which it is a part. Throws InputError for an unknown name and for an illegal set.
BlockSizes parse_blocks(const std::string& text);

}  // namespace moehill
