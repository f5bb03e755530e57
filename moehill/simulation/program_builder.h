// Makes a program of a plan: the work of every device and the messages between them, as the model counts
// them.
#pragma once

#include "moehill/model/predict.h"
#include "moehill/simulation/collective_form.h"
#include "moehill/simulation/step_program.h"

namespace moehill {

// These options say how messages of a program are made of its bytes.
struct MessageOptions {
  int group = 1;  // devices (simulation/exchange.h)
  CollectiveForm form = CollectiveForm::direct;
};

// Stages in the order of the step, one after the other on a device: seconds of products and rows by the
// model's rates, and bytes from whom to whom. In the direct form the collectives of a stage travel as one
// message to each device. Their bytes are exactly those of the model:
//
// all-gather: a device's own to every other. reduce-scatter: to every other its slice. all-reduce: both; the
// slices of devices, which differ by less than a cache line, as if they were alike. all-to-all: rows by the
// routing.
//
// In the other forms rows and numbers by the routing go first, then what is summed, then what is gathered.
// One half of an all-reduce is summed and the other is gathered. Bytes that do not divide by the number of
// slices are left out; these are fewer than 2 P a device.
//
// Rows that fly between nodes are one stage with the products that run meanwhile (model/flight.h); those
// products are not in the stage of their name. What is read in place is no message.
StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware,
                          const MessageOptions& options = {});

// Throws InputError if with this form no collective of the problem takes another way than the direct one.
void refuse_form_without_effect(const WorkProblem& problem, CollectiveForm form, int num_devices,
                                int devices_per_node);

}  // namespace moehill
