// Makes a program of a plan: the work of every device and the messages between them, as the model counts
// them.
#pragma once

#include "moehill/model/predict.h"
#include "moehill/simulation/step_program.h"

namespace moehill {

// Stages in the order of the step, one after the other on a device: seconds of products and rows by the
// model's rates, and bytes from whom to whom. The collectives of a stage travel as one message to each
// device. Their bytes are the model's to the byte:
//
// all-gather: a device's own to every other. reduce-scatter: to every other its slice. all-reduce: both; the
// slices of devices, which differ by less than a cache line, as if they were alike. all-to-all: rows by the
// routing.
//
// Rows that fly between nodes are one stage with the products that run meanwhile (model/flight.h); those
// products are not in the stage of their name. What is read in place is no message.
StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware);

}  // namespace moehill
