// This header has DySizes, the sizes of the gradient of y that the audit (moe/audit.h) needs of each token.
#pragma once

#include <cmath>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/projection.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// DySizes are measured for dy = y, and only for the tokens of which an expert of this process has a row.
struct DySizes {
  Dense<double> squares;  // [T, blocks of H]: mean squares
  std::vector<double>
      size;  // [T]: the power of two below the largest element; 1 for a row of zeros; 0: not measured

  DySizes() = default;
  DySizes(int64_t tokens, int64_t blocks) : squares(tokens, blocks), size(static_cast<size_t>(tokens), 0) {}

  void measure(const MatView& y, const Projection& by_hidden, const std::vector<int64_t>& tokens,
               ThreadTeam& team) {
    team.parallel_for(std::ssize(tokens), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) measure(y, by_hidden, tokens[static_cast<size_t>(i)]);
    });
  }

 private:
  void measure(const MatView& y, const Projection& by_hidden, int64_t token) {
    double& power = size[static_cast<size_t>(token)];
    if (power != 0) return;
    double largest = 0;
    for (int64_t b = 0; b < by_hidden.num_blocks(); ++b) {
      const Range columns = by_hidden.columns_of(b);
      double sum = 0;
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const double dy = static_cast<double>(y.at(token, c));
        sum += dy * dy;
        largest = std::max(largest, std::abs(dy));
      }
      squares.row(token)[b] = sum / static_cast<double>(columns.size());
    }
    power = largest > 0 && std::isfinite(largest) ? std::ldexp(1, std::ilogb(largest)) : 1;
  }
};

}  // namespace moehill
