// Implementation of report/picture.h: it writes the SVG line by line, with fixed places.
#include "moehill/report/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "moehill/report/markdown.h"

namespace moehill {
namespace {

// The colours are those of Okabe and Ito, which colour-blind readers can tell apart. They are darker on a
// light background and lighter on a dark one.
constexpr const char* kStyle =
    "<style>text{font:11px system-ui,sans-serif;fill:var(--ink)}.title{font-size:14px;font-weight:600}"
    ".head{font-size:12px;font-weight:600}.soft{fill:var(--soft)}.end{text-anchor:end}"
    ".middle{text-anchor:middle}line,path,polyline{stroke-width:1.5;fill:none}"
    ":root{--ground:#fff;--ink:#1c2024;--soft:#5a626b;--grid:#dfe2e6;--a:#0072b2;--b:#b34d00;--c:#00785a;"
    "--d:#8f4a7e;--e:#3d3d3d;--f:#866400}"
    "@media(prefers-color-scheme:dark){:root{--ground:#15181c;--ink:#e6e8ea;--soft:#a3abb5;--grid:#33383f;"
    "--a:#56b4e9;--b:#ff9d5c;--c:#3ddc97;--d:#e59fc8;--e:#d0d0d0;--f:#f0e442}}</style>";
constexpr std::array kColors = {"--a", "--b", "--c", "--d", "--e", "--f"};
constexpr std::array kDashes = {"", "5 3", "2 2", "8 3 2 3", "1 3", "10 4"};

// Places and sizes in units of the picture, which is 400 wide and grows with its contents.
constexpr double kWidth = 400, kEdge = 10, kRow = 17, kTitle = 26, kLine = 15;
constexpr double kPlotLeft = 172, kPlotRight = 370;      // of ratios
constexpr size_t kLabelLetters = 27, kHeadLetters = 52;  // letters that fit
constexpr double kMostRatio = 4, kMostPercent = 150;     // ends of the axes

// Counts letters and not bytes: bytes 10xxxxxx continue a letter of UTF-8.
std::string cut(const std::string& text, size_t most) {
  size_t letters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && ++letters == most && i + 1 < text.size()) return text.substr(0, i) + "…";
  }
  return text;
}

// Svg collects the elements of one picture.
class Svg {
 public:
  void text(double x, double y, const std::string& classes, const std::string& what) {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, classes,
                         xml_text(what));
  }
  void line(double x1, double y1, double x2, double y2, const std::string& color) {
    body_ +=
        fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"var({})\"/>\n",
                    x1, y1, x2, y2, color);
  }
  // Draws a shape at a place. The shape is the "d" of a path around (0, 0).
  void shape(double x, double y, const char* d, const std::string& color, bool filled) {
    body_ += fmt::format("<path d=\"{}\" transform=\"translate({:.1f} {:.1f})\" stroke=\"var({})\"{}/>\n", d,
                         x, y, color, filled ? fmt::format(" style=\"fill:var({})\"", color) : "");
  }
  void polyline(const std::string& points, const std::string& color, const char* dash) {
    body_ += fmt::format("<polyline points=\"{}\" stroke=\"var({})\" stroke-dasharray=\"{}\"/>\n", points,
                         color, dash);
  }
  void begin_group(const std::string& tip) { body_ += "<g><title>" + xml_text(tip) + "</title>\n"; }
  void end_group() { body_ += "</g>\n"; }

  // Colours are variables of the style, so the picture follows a light or dark page.
  std::string take(double height, const std::string& title) const {
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n"
        "<title>{2}</title>\n{3}\n<rect width=\"{0:.0f}\" height=\"{1:.0f}\" "
        "style=\"fill:var(--ground)\"/>\n{4}</svg>\n",
        kWidth, height, xml_text(title), kStyle, body_);
  }

 private:
  std::string body_;
};

constexpr const char* kDot = "M-3.5 0A3.5 3.5 0 1 0 3.5 0A3.5 3.5 0 1 0 -3.5 0Z";
constexpr const char* kDiamond = "M0 -5L5 0L0 5L-5 0Z";
constexpr std::array kShapes = {kDot,     "M-3.5 -3.5H3.5V3.5H-3.5Z", "M0 -4.5L4.5 3.5H-4.5Z",
                                kDiamond, "M0 4.5L4.5 -3.5H-4.5Z",    "M-4 0H4M0 -4V4"};
constexpr const char* kToLeft = "M4 -4L-2 0L4 4Z";
constexpr const char* kToRight = "M-4 -4L2 0L-4 4Z";

// RatioAxis is a logarithmic axis over all marks.
class RatioAxis {
 public:
  explicit RatioAxis(const std::vector<RatioGroup>& groups) {
    for (const RatioGroup& group : groups) {
      for (const RatioMark& mark : group.marks) {
        for (const double ratio : {mark.ratio, mark.published.value_or(1)}) {
          lo_ = std::min(lo_, std::log(ratio));
          hi_ = std::max(hi_, std::log(ratio));
        }
      }
    }
    lo_ = std::max(lo_ - 0.05, -std::log(kMostRatio));
    hi_ = std::min(hi_ + 0.05, std::log(kMostRatio));
  }
  bool is_off(double ratio) const { return std::log(ratio) < lo_ || std::log(ratio) > hi_; }
  double place(double ratio) const {
    const double at = std::clamp(std::log(ratio), lo_, hi_);
    return kPlotLeft + (kPlotRight - kPlotLeft) * (at - lo_) / (hi_ - lo_);
  }
  // Returns ticks whose labels do not touch. 1 is always one of them.
  std::vector<double> ticks() const {
    std::vector<double> kept = {1};
    for (const double tick : {4.0, 2.0, 0.5, 0.25, 3.0, 1.5, 0.7, 1.2, 0.8, 1.1, 0.9, 0.3}) {
      const auto is_near = [&](double other) { return std::abs(place(other) - place(tick)) < 26; };
      if (!is_off(tick) && std::none_of(kept.begin(), kept.end(), is_near)) kept.push_back(tick);
    }
    return kept;
  }

 private:
  // The ends of the axis as logarithms. No axis is narrower than this.
  double lo_ = -0.2, hi_ = 0.2;
};

void draw_axis(Svg& svg, const RatioAxis& axis, double top, double bottom) {
  for (const double tick : axis.ticks()) {
    const double x = axis.place(tick);
    svg.line(x, top, x, bottom, tick == 1 ? "--soft" : "--grid");
    svg.text(x, bottom + 11, "middle soft", fmt::format("{:g}", tick));
  }
}

// Draws an interval; an end that is off the axis becomes an arrow.
void draw_interval(Svg& svg, const RatioAxis& axis, const Interval& interval, double y) {
  svg.line(axis.place(interval.lo), y, axis.place(interval.hi), y, "--a");
  if (axis.is_off(interval.lo)) svg.shape(axis.place(interval.lo), y, kToLeft, "--a", false);
  if (axis.is_off(interval.hi)) svg.shape(axis.place(interval.hi), y, kToRight, "--a", false);
}

// Draws one line of the picture: label, interval, published ratio as a diamond, own ratio as a dot, verdict.
void draw_mark(Svg& svg, const RatioAxis& axis, const RatioMark& mark, double y) {
  svg.begin_group(mark.tip);
  svg.text(kEdge + 6, y + 4, "", cut(mark.label, kLabelLetters));
  if (mark.interval) draw_interval(svg, axis, *mark.interval, y);
  const auto draw = [&](double ratio, const char* shape, const char* color, bool filled) {
    const char* arrow = ratio < 1 ? kToLeft : kToRight;
    svg.shape(axis.place(ratio), y, axis.is_off(ratio) ? arrow : shape, color, filled);
  };
  if (mark.published) draw(*mark.published, kDiamond, "--b", false);
  draw(mark.ratio, kDot, "--a", true);
  svg.text(kWidth - kEdge, y + 4, "end head", mark.sign);
  svg.end_group();
}

// Returns a step of 1, 2, 5, 10, 20, 25 or 50 percent, so that there are at most five steps.
double percent_step(double most) {
  for (const double step : {1.0, 2.0, 5.0, 10.0, 20.0, 25.0})
    if (most / step <= 5) return step;
  return 50;
}

// PanelDrawer draws one panel.
class PanelDrawer {
 public:
  PanelDrawer(Svg& svg, const CurvePanel& panel, double top) : svg_(svg), panel_(panel) {
    double most = 1;
    for (const Curve& curve : panel.curves) {
      for (const CurvePoint& point : curve.points) {
        most = std::max(most, point.y);
        xs_.insert(point.x);
      }
    }
    step_ = percent_step(most);
    // The axis ends a little above the largest value, at a whole step.
    most_ = step_ * std::ceil(1.02 * std::min(most, kMostPercent) / step_);
    top_ = top + 12 + kLine * static_cast<double>((panel.curves.size() > 1 ? panel.curves.size() : 0) + 1);
  }

  // Draws the panel. Returns where it ends.
  double draw() {
    double y = top_ - 12;
    if (panel_.curves.size() > 1) y -= kLine * static_cast<double>(panel_.curves.size());
    svg_.text(kEdge, y, "head", cut(panel_.title, kHeadLetters));
    for (double value = 0; value <= most_ + 1e-9; value += step_) {
      svg_.line(kLeft, place_y(value), kRight, place_y(value), value == 0 ? "--soft" : "--grid");
      svg_.text(kLeft - 6, place_y(value) + 4, "end soft", fmt::format("{:g} %", value));
    }
    for (const double x : xs_)
      svg_.text(place_x(x), top_ + kHeight + 15, "middle soft", fmt::format("{:g}", x));
    for (size_t i = 0; i < panel_.curves.size(); ++i) {
      if (panel_.curves.size() > 1) draw_name(i, y + kLine * static_cast<double>(i + 1));
      draw_curve(i);
    }
    return top_ + kHeight + 18;
  }

 private:
  static constexpr double kLeft = 50, kRight = kWidth - 2 * kEdge, kHeight = 120;

  double place_x(double x) const {
    const double first = *xs_.begin(), last = *xs_.rbegin();
    if (first == last) return (kLeft + kRight) / 2;
    return kLeft + 14 + (kRight - kLeft - 28) * (x - first) / (last - first);
  }
  double place_y(double y) const { return top_ + kHeight * (1 - std::clamp(y / most_, 0.0, 1.0)); }
  // Where colours repeat, shapes and dashes do not, so that no two of some dozens of curves look alike.
  static size_t shifted(size_t i) { return i + i / kColors.size(); }
  const char* color(size_t i) const { return kColors[i % kColors.size()]; }
  const char* shape(size_t i) const { return kShapes[shifted(i) % kShapes.size()]; }

  void draw_name(size_t i, double y) {
    svg_.shape(kLeft + 8, y - 4, shape(i), color(i), true);
    svg_.text(kLeft + 20, y, "", cut(panel_.curves[i].name, 50));
  }

  void draw_curve(size_t i) {
    const Curve& curve = panel_.curves[i];
    std::string places;
    for (const CurvePoint& point : curve.points)
      places += fmt::format("{:.1f},{:.1f} ", place_x(point.x), place_y(point.y));
    svg_.polyline(places, color(i), kDashes[shifted(i) % kDashes.size()]);
    for (const CurvePoint& point : curve.points) {
      svg_.begin_group(fmt::format("{} at {:g}: {:.1f} %{}", curve.name, point.x, point.y,
                                   interval_text(point.interval, "{:.1f}")));
      const double x = place_x(point.x);
      if (point.interval) svg_.line(x, place_y(point.interval->lo), x, place_y(point.interval->hi), color(i));
      if (point.interval && point.interval->hi > most_)
        svg_.shape(x, top_, "M-4 4L0 -2L4 4Z", color(i), false);
      svg_.shape(x, place_y(point.y), shape(i), color(i), true);
      svg_.end_group();
    }
  }

  Svg& svg_;
  const CurvePanel& panel_;
  std::set<double> xs_;
  double most_ = 0, step_ = 0, top_ = 0;
};

}  // namespace

std::string ratio_picture(const std::string& title, const std::vector<RatioGroup>& groups,
                          const std::vector<std::string>& key) {
  Svg svg;
  const RatioAxis axis(groups);
  double y = kTitle;
  svg.text(kEdge, y - 4, "title", title);
  for (const std::string& line : key) svg.text(kEdge, y += kLine, "soft", line);
  for (const RatioGroup& group : groups) {
    svg.text(kEdge, y += 24, "head", cut(group.title, kHeadLetters));
    svg.text(kEdge, y += kLine, "soft", cut(group.subtitle, 64));
    const double top = y + 5, bottom = top + kRow * static_cast<double>(group.marks.size());
    draw_axis(svg, axis, top, bottom);
    for (size_t i = 0; i < group.marks.size(); ++i)
      draw_mark(svg, axis, group.marks[i], top + kRow * (static_cast<double>(i) + 0.5));
    y = bottom + 12;
  }
  svg.text(kWidth - kEdge, y + 18, "end soft", "ratio of throughputs, logarithmic");
  return svg.take(y + 28, title);
}

std::string curve_picture(const std::string& title, const std::string& x_title,
                          const std::vector<CurvePanel>& panels) {
  Svg svg;
  svg.text(kEdge, kTitle - 4, "title", title);
  double y = kTitle;
  for (const CurvePanel& panel : panels) y = PanelDrawer(svg, panel, y + 8).draw();
  svg.text(kWidth - 2 * kEdge, y + 16, "end soft", x_title);
  return svg.take(y + 26, title);
}

}  // namespace moehill
