// The published rows of the reference logbook by the model: each predicted with what is known to
// be wrong with its measurement, and the order of every two compared with the published one.
#pragma once

#include <string>
#include <vector>

#include "moehill/model/hardware.h"
#include "moehill/report/published.h"

namespace moehill {

// Seconds of a row by what they are spent on. The last three are defects of the measurement, not of a block:
// operands moved to the chips inside the clock, weights copied or stacked there, rows of padding computed.
struct PublishedSeconds {
  double products = 0, rows = 0, links = 0, moved = 0, copied = 0, padding = 0;
  double total() const { return products + rows + links + moved + copied + padding; }
};

struct PublishedExpectation {
  PublishedRow row;
  double flops = 0;             // of the model's block, useful ones, as the logbook counts them
  double published_tflops = 0;  // given, or from the row's time
  PublishedSeconds seconds;
  int num_pairs = 0, num_wrong = 0;  // of those that the row is in
  double predicted_tflops() const { return flops / seconds.total() / 1e12; }
};

enum class Defects { modelled, left_out };

struct PublishedOrder {
  std::vector<PublishedExpectation> rows;
  int num_pairs = 0, num_right = 0;  // pairs whose published TF/s differ by more than 10 %
  double share_right() const { return num_pairs == 0 ? 1 : static_cast<double>(num_right) / num_pairs; }
};

// Rows without a rate (ratios, what was not completed) are left out. Without the defects every row has
// operands resident, no copies, no padding, and all chips of the host.
PublishedOrder published_order(const std::vector<PublishedRow>& rows, const Hardware& hardware,
                               Defects defects);

// The shares, by pairs of modes too, and the rows with the most wrong pairs with what the model says of them.
std::string published_report(const PublishedOrder& order, const PublishedOrder& without_defects,
                             const Hardware& hardware);

}  // namespace moehill
