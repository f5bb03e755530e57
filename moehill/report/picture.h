// Picture: figures with intervals as SVG, for a page of documentation. It is 400 units wide, so that its text
// can be read at 400 pixels. It has its own background, which is light or dark as the reader's system is.
// Whatever differs in colour differs in shape, too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"

namespace moehill {

// One row: ours as a dot with its interval, and what was published as a diamond.
struct RatioMark {
  std::string label, tip;  // tip: the full text, since a label may be cut
  double ratio = 1;
  std::optional<Interval> interval;
  std::optional<double> published;
  std::string sign;  // at the right edge, such as "="
};
struct RatioGroup {
  std::string title, subtitle;
  std::vector<RatioMark> marks;
};

// Draws ratios on one logarithmic axis, which goes from a quarter to four at most. What lies beyond ends in
// an arrow at the edge. `key` has lines that explain the signs.
std::string ratio_picture(const std::string& title, const std::vector<RatioGroup>& groups,
                          const std::vector<std::string>& key);

struct CurvePoint {
  double x = 0, y = 0;
  std::optional<Interval> interval;  // of y
};
struct Curve {
  std::string name;
  std::vector<CurvePoint> points;  // ascending x
};
struct CurvePanel {
  std::string title;
  std::vector<Curve> curves;
};

// Draws the panels one below the other. y is in percent and begins at 0. x has ticks where there are points.
std::string curve_picture(const std::string& title, const std::string& x_title,
                          const std::vector<CurvePanel>& panels);

}  // namespace moehill
