// Picture: figures with intervals as SVG, for a page of documentation. It is 400 units wide, so that its text
// can be read at 400 pixels; it has its own ground, light or dark as the reader's system is; every difference
// of colour is one of shape, too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"

namespace moehill {

// One row: ours as a dot with its interval, and what was published as a diamond.
struct RatioMark {
  std::string label, tip;  // tip: the whole of it, for whom the label is too short
  double ratio = 1;
  std::optional<Interval> interval;
  std::optional<double> published;
  std::string sign;  // at the right edge, such as "="
};
struct RatioGroup {
  std::string title, subtitle;
  std::vector<RatioMark> marks;
};

// Ratios on one logarithmic axis, from a quarter to four at most: what lies beyond ends in an arrow at the
// edge. `key`: lines that explain the signs.
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

// One panel below the other, each from 0 up, with ticks where there are points. y in percent.
std::string curve_picture(const std::string& title, const std::string& x_title,
                          const std::vector<CurvePanel>& panels);

}  // namespace moehill
