// Published model predicts the rows of the reference logbook, each with the known defects of its measurement.
// It compares the order of every two rows with the published order. Only orders are compared, because
// absolute figures depend on a machine that nobody can measure here.
//
//     const PublishedOrder order = published_order(rows, hardware, Defects::modelled);
//     order.share_right();   // 0.93: the share of the pairs that are in the published order
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/model/hardware.h"
#include "moehill/report/published.h"

namespace moehill {

// PublishedSeconds are the seconds of a row, by kind of work. The last three are defects of the
// measurement and not part of a block: operands that are moved to the chips inside the clock, weights that
// are copied or stacked there, and rows of padding that are computed.
struct PublishedSeconds {
  double products = 0, rows = 0, links = 0, moved = 0, copied = 0, padding = 0;
  double total() const { return products + rows + links + moved + copied + padding; }
};

// PublishedExpectation is a row beside its prediction.
struct PublishedExpectation {
  PublishedRow row;
  double flops = 0;             // useful FLOPs of the model's block, as the logbook counts them
  double published_tflops = 0;  // as given, or from the row's time
  PublishedSeconds seconds;
  int num_pairs = 0, num_wrong = 0;  // of the pairs that the row is in
  double predicted_tflops() const { return flops / seconds.total() / 1e12; }
};

// Defects tells whether the known defects of the measurement are part of the prediction.
enum class Defects { modelled, left_out };

// PublishedOrder is all rows, and how their pairs compare.
struct PublishedOrder {
  std::vector<PublishedExpectation> rows;
  int num_pairs = 0, num_right = 0;  // pairs whose published TF/s differ by more than 10 %
  double share_right() const { return num_pairs == 0 ? 1 : static_cast<double>(num_right) / num_pairs; }
};

// Leaves out rows without a rate (ratios, and what was not completed). Without the defects, every row has its
// operands resident, no copies, no padding, and all chips of the host. Calls `done` after each of `rows`.
PublishedOrder published_order(const std::vector<PublishedRow>& rows, const Hardware& hardware,
                               Defects defects, const std::function<void()>& done = {});

// Returns the shares of pairs in the right order, and the rows with the most wrong pairs together with what
// the model says of them.
std::string published_report(const PublishedOrder& order, const PublishedOrder& without_defects,
                             const Hardware& hardware);

}  // namespace moehill
