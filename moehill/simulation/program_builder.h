// build_program() makes the simulator's program for a problem and its routing: the work of every device, and
// the messages between devices, as the model counts them. It adds no physics of its own. The seconds of work
// come from the model's rates (model/predict.h), and the bytes from its link work (model/link_work.h).
//
//     const StepProgram program = build_program(problem, plan_counts(config, routing), hardware);
//     const Simulation simulation = simulate(make_cluster(hardware, num_devices, dtype), program);
#pragma once

#include "moehill/model/predict.h"
#include "moehill/simulation/collective_form.h"
#include "moehill/simulation/step_program.h"

namespace moehill {

// MessageOptions says how bytes become messages.
struct MessageOptions {
  int group = 1;  // devices of a group (simulation/exchange.h)
  CollectiveForm form = CollectiveForm::direct;
};

// Returns a program whose stages follow each other in the order of the step: seconds of products and rows by
// the model's rates, and bytes from device to device. In the direct form, the collectives of a stage travel
// as one message to each device, with exactly the bytes of the model:
//
//   all-gather      a device's own bytes to every other device
//   reduce-scatter  to every other device its slice
//   all-reduce      both; slices differ by less than a cache line and are taken as equal
//   all-to-all      rows as the routing says
//
// In the other forms, rows and numbers that follow the routing go first, then slices that are summed, then
// slices that are gathered. Half of an all-reduce is summed and half is gathered. Bytes that do not divide by
// the number of slices are left out; these are fewer than 2 P bytes for a device.
//
// Rows that fly between nodes form one stage with the products that run meanwhile (model/flight.h). These
// products are then not in the stage of their own name. Rows that are read in place are not a message.
StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware,
                          const MessageOptions& options = {});

// Throws InputError if no collective of the problem takes another way with this form than with the direct
// one.
void refuse_form_without_effect(const WorkProblem& problem, CollectiveForm form, int num_devices,
                                int devices_per_node);

}  // namespace moehill
