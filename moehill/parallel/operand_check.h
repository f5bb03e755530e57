// This header compares a run's operands in memory with where they came from: the seed, or a model's files.
// The check computes its reference from the operands that the step used. So operands that nobody filled, or
// that are another expert's, would show nowhere else.
//
// A random draw chooses one row and one column of each matrix. These, and every row of x, are made again and
// compared. The code that makes them shares no list of tensors with the code that fills them
// (parallel/operands.h).
//
//   const std::string fault = weights_fault(weights, places, {seed, layer}, {draw, others}, team);
//   if (!fault.empty()) verdict.fail(fault);
#pragma once

#include <string>

#include "moehill/parallel/operands.h"

namespace moehill {

// OperandDraw chooses the numbers that are compared.
struct OperandDraw {
  uint32_t seed = 0;
  bool others = false;  // the operands are the other ones of parallel/other_operands.h
};

// Describes the first number that differs from its origin; returns "" if none does. `places` are the experts
// (or the places of experts, with a placement) that this process needs. A row or column of a file is compared
// at up to 64 places, so that few pages of the file are read.
std::string weights_fault(const WeightOperands& weights, Range places, const WeightOrigin& origin,
                          const OperandDraw& draw, ThreadTeam& team);
// Does the same for these rows of x, all of them.
std::string tokens_fault(const TokenOperands& tokens, Range rows, uint32_t seed, bool others,
                         ThreadTeam& team);

}  // namespace moehill
