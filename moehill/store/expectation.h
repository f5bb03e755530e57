// Expectation: a threshold that an experiment fixes before it runs, parsed; who reads results evaluates it.
#pragma once

#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

struct AxisValue {
  std::string axis, value;

  bool operator==(const AxisValue&) const = default;
};

// ratio(AXIS = VALUE[, AXIS = VALUE ...], AXIS = VALUE[, ...]) OP NUMBER [at AXIS = VALUE[, ...]]
//
// The ratio of two points' median throughput (tflops; of every such pair of points that agree in the other
// axes). The denominator begins where the first axis is named again. OP is a word of Relation. A value with
// blanks, commas or parentheses stands in single or double quotes. Besides the axes, `path` names a record of
// `profile`.
enum class Relation { at_least, at_most, above, below };
constexpr auto words(Relation) { return std::array{">=", "<=", ">", "<"}; }

struct Expectation {
  std::vector<AxisValue> numerator, denominator, at;
  Relation relation = Relation::at_least;
  double threshold = 0;
};

// Throws InputError that names what was expected and where.
Expectation parse_expectation(const std::string& text);

bool is_met(const Expectation& expectation, double ratio);

// True if every one of `wanted` is so in `axes` (StoredPoint::axes); numbers are compared as numbers.
bool matches(const std::vector<AxisValue>& wanted, const StoredJson& axes);

// The text of an axis value as an expectation would name it: 8, ep, true.
std::string value_text(const StoredJson& value);

}  // namespace moehill
