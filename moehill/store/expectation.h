// Expectation is a threshold that an experiment fixes before it runs, as a value. This file parses it;
// report/hypotheses.h compares it with results.
//
//     const Expectation e = parse_expectation("ratio(topk = 8, topk = 2) >= 1.5 at parallel_mode = ep");
//     is_met(e, 1.62);   // true
#pragma once

#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// AxisValue is one condition, such as topk = 8.
struct AxisValue {
  std::string axis, value;

  bool operator==(const AxisValue&) const = default;
};

// An expectation has this grammar:
//
//   ratio(AXIS = VALUE[, AXIS = VALUE ...], AXIS = VALUE[, ...]) OP NUMBER [at AXIS = VALUE[, ...]]
//
// The ratio is the median throughput (tflops) of one point over another's, for every such pair of points that
// agree in the other axes. The denominator begins where the first axis is named again. OP is a word of
// Relation. A value with blanks, commas or parentheses stands in single or double quotes. Besides the axes,
// `path` may be named, the path of a record of `profile`.
enum class Relation { at_least, at_most, above, below };
constexpr auto words(Relation) { return std::array{">=", "<=", ">", "<"}; }

// Expectation is the parsed form. `at` restricts it to points with these values.
struct Expectation {
  std::vector<AxisValue> numerator, denominator, at;
  Relation relation = Relation::at_least;
  double threshold = 0;
};

// Throws InputError that says what was expected, and before which character.
Expectation parse_expectation(const std::string& text);

bool is_met(const Expectation& expectation, double ratio);

// True if `axes` (StoredPoint::axes) has every value of `wanted`. Numbers are compared as numbers, so 8
// equals 8.0.
bool matches(const std::vector<AxisValue>& wanted, const StoredJson& axes);

// Returns the text of an axis value as an expectation would name it: 8, ep, true.
std::string value_text(const StoredJson& value);

}  // namespace moehill
