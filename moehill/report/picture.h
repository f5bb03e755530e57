// Picture draws figures with intervals as SVG, for a page of documentation. It is 400 units wide, so that its
// text can be read at 400 pixels. Its background is light or dark, as the reader's system is. Things that
// differ in colour also differ in shape.
// report/plots.h decides which figures are shown.
//
//     RatioMark mark{.label = "ep topk=8", .ratio = 1.2, .interval = Interval{1.1, 1.3, 0.95}};
//     file << ratio_picture("EP over none", {{"experiment", "one machine", {mark}}}, {});
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"

namespace moehill {

// RatioMark is one row: ours as a dot with its interval, and what was published as a diamond.
struct RatioMark {
  std::string label, tip;  // tip: the full text, since a label may be cut
  double ratio = 1;
  std::optional<Interval> interval;
  std::optional<double> published;
  std::string sign;  // at the right edge, such as "="
};
// RatioGroup is the rows under one title.
struct RatioGroup {
  std::string title, subtitle;
  std::vector<RatioMark> marks;
};

// Draws ratios on one logarithmic axis, from a quarter to four at most. A value beyond ends in an arrow at
// the edge. `key` has lines that explain the signs.
std::string ratio_picture(const std::string& title, const std::vector<RatioGroup>& groups,
                          const std::vector<std::string>& key);

// CurvePoint is one point of a curve; y is in percent.
struct CurvePoint {
  double x = 0, y = 0;
  std::optional<Interval> interval;  // of y
};
// Curve is one line with its name in the legend.
struct Curve {
  std::string name;
  std::vector<CurvePoint> points;  // ascending x
};
// CurvePanel is the curves of one pair of axes.
struct CurvePanel {
  std::string title;
  std::vector<Curve> curves;
};

// Draws the panels below each other. y is in percent and begins at 0; x has ticks where there are points.
std::string curve_picture(const std::string& title, const std::string& x_title,
                          const std::vector<CurvePanel>& panels);

}  // namespace moehill
