// This file has the limits of the block sizes, and reads and checks the sizes. block_sizes.h explains the
// sizes, and docs/metrics.md their effects.
#include "moehill/kernels/block_sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

constexpr int64_t kMaxPackedBytes = 64 << 20;

// SizeLimit has the legal values of one size: from lo to hi in steps of `step`, and the reason for the step.
struct SizeLimit {
  const char* name;
  int64_t BlockSizes::*value;
  int64_t lo, hi, step;
  const char* why;
};

// Two reasons are not obvious. A tile call's depth is halved where B is transposed in squares of 16 x 16, so
// half of it must be a multiple of 16. And bf and bd2 are the most columns of a unit, so they allow at least
// 8 panels: for a few columns, packing the rows of a unit does not pay.
constexpr SizeLimit kLimits[] = {
    {"bt", &BlockSizes::bt, 1, 4096, 1, "rows of a unit"},
    {"bf", &BlockSizes::bf, 64, 65536, 32, "2 bf columns are 8 panels of 16 or more"},
    {"bd1", &BlockSizes::bd1, 32, 65536, 32, "whole tile calls"},
    {"bd2", &BlockSizes::bd2, 128, 65536, 16, "whole panels of 16 columns, 8 at least"},
    {"btc", &BlockSizes::btc, 1, 4096, 1, "rows of a unit"},
    {"bfc", &BlockSizes::bfc, 32, 65536, 32, "half of it is a whole number of squares of 16"},
    {"bd1c", &BlockSizes::bd1c, 32, 65536, 32, "half of it is a whole number of squares of 16"},
    {"bd2c", &BlockSizes::bd2c, 16, 65536, 16, "whole panels of 16 columns"},
};

void refuse_part(const char* part, int64_t part_size, const char* whole, int64_t whole_size) {
  if (part_size <= whole_size) return;
  throw input_error("--blocks", fmt::format("{}={}", part, part_size),
                    fmt::format("at most {}={}, the block it is a part of", whole, whole_size),
                    fmt::format("choose a smaller {} or a larger {}", part, whole));
}

}  // namespace

ProductBlocks blocks_of(const BlockSizes& s, Product product) {
  const bool to_width = product == Product::to_width;
  return {s.bt,
          s.btc,
          to_width ? s.bd1 : s.bf,
          to_width ? s.bd1c : s.bfc,
          (to_width ? 2 * s.bf : s.bd2) / kPanelWidth,
          s.bd2c / kPanelWidth};
}

const std::vector<BlockSizeField>& block_size_fields() {
  static const std::vector<BlockSizeField> fields = [] {
    std::vector<BlockSizeField> all;
    for (const SizeLimit& limit : kLimits) all.push_back({limit.name, limit.value});
    return all;
  }();
  return fields;
}

std::string to_string(const BlockSizes& sizes) {
  std::string text;
  for (const BlockSizeField& field : block_size_fields())
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", field.name, sizes.*field.value);
  return text;
}

void refuse_illegal_blocks(const BlockSizes& s) {
  for (const SizeLimit& limit : kLimits) {
    const int64_t value = s.*limit.value;
    if (value >= limit.lo && value <= limit.hi && value % limit.step == 0) continue;
    throw input_error("--blocks", fmt::format("{}={}", limit.name, value),
                      fmt::format("{} to {} in steps of {} ({})", limit.lo, limit.hi, limit.step, limit.why),
                      fmt::format("choose for example {}={}", limit.name, BlockSizes{}.*limit.value));
  }
  refuse_part("btc", s.btc, "bt", s.bt);
  refuse_part("bfc", s.bfc, "bf", s.bf);
  refuse_part("bd1c", s.bd1c, "bd1", s.bd1);
  refuse_part("bd2c", s.bd2c, "bd2", s.bd2);
  const int64_t packed = s.bt * std::max(s.bf, s.bd1) * static_cast<int64_t>(sizeof(float));
  if (packed > kMaxPackedBytes) {
    throw input_error(
        "--blocks",
        fmt::format("bt={}, bf={}, bd1={}: {} MiB of packed rows", s.bt, s.bf, s.bd1, packed >> 20),
        "at most 64 MiB, bt times the larger of bf and bd1 in f32", "choose a smaller bt");
  }
}

BlockSizes parse_blocks(const std::string& text) {
  BlockSizes blocks;
  std::set<std::string> given;
  for (const std::string& item : split(text, ',')) {
    const size_t equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const auto& fields = block_size_fields();
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const BlockSizeField& f) { return name == f.name; });
    if (field == fields.end() || equals == std::string::npos) {
      throw input_error("--blocks", quoted(item), "bt, bf, bd1, bd2, btc, bfc, bd1c, bd2c, each with =SIZE",
                        "write for example --blocks bt=64,bf=1024");
    }
    blocks.*field->value =
        parse_integer("--blocks " + name, item.substr(equals + 1), 1, std::numeric_limits<int32_t>::max());
    if (!given.insert(name).second)
      throw usage_error("--blocks: " + name + " is given twice", "leave one of them out");
  }
  // If the user gave a block but not its part, the part's default may be larger than the block, so it is cut.
  const auto fit = [&](const char* name, int64_t& part, int64_t whole) {
    if (given.count(name) == 0) part = std::min(part, whole);
  };
  fit("btc", blocks.btc, blocks.bt);
  fit("bfc", blocks.bfc, blocks.bf);
  fit("bd1c", blocks.bd1c, blocks.bd1);
  fit("bd2c", blocks.bd2c, blocks.bd2);
  refuse_illegal_blocks(blocks);
  return blocks;
}

}  // namespace moehill
