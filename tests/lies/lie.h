// The kit of lies: a program with the main, the libraries and the commands of `moehill`, in which one chosen
// thing goes wrong. The linker puts a wrapper before functions that rooms call across their borders (`ld
// --wrap`), so the shipped sources know nothing of this.
//
// How to add a lie: define a `Lie` with its name and what it does in the file of its seam (run_lies.cc: whole
// steps, results, operands; mlp_lies.cc: products and stages; plan_lies.cc: plans and gate values;
// mesh_lies.cc: sums and copies between devices), ask `told()` in the wrapper, and do the wrong thing where
// it says so. Then add a row to the table in `run`, which says where the lie means something; a lie without
// a row fails the kit. A new seam is a pair of declarations, one with REAL and one with LYING; CMake reads
// the symbols from these lines. It must be called from another file than the one that defines it.
//
// The environment chooses the lie:
//
//   MOEHILL_LIE        the name of a lie; "list" prints all names
//   MOEHILL_LIE_STEPS  FROM or FROM-TO: the steps of each run that lie, the checked one is 0; by default all
//   MOEHILL_LIE_RANK   the device that lies, where a lie is a device's own; by default all
//   MOEHILL_LIE_SEED   where the lie is, if it has a place
//   MOEHILL_LIE_LOG    a file that gets a line when the lie was told for the first time
#pragma once

#include <atomic>
#include <cstdint>

#include "moehill/machine/thread_team.h"

#define REAL(symbol) asm("__real_" symbol)
#define LYING(symbol) asm("__wrap_" symbol)

namespace moehill {

class Group;

class Lie {
 public:
  Lie(const char* name, const char* what);

  // True if this is the chosen lie and the step under way is one that lies.
  bool told() const;
  // These two ask for one device.
  bool told_on(const ThreadTeam& team) const;
  bool told_by(int rank) const;
  // True if this is the chosen lie, in whatever step it is told.
  bool is_chosen() const;

  const char* name() const { return name_; }
  const char* what() const { return what_; }

 private:
  const char* name_;
  const char* what_;
  mutable std::atomic<bool> was_told_{false};
};

// A step of a run is under way from here to the end of the scope; `number` counts the run's steps.
class StepScope {
 public:
  explicit StepScope(int64_t number);
  ~StepScope();
};

// The number of the step under way.
int64_t step_number();

// Somewhere in [0, n), by the seed; `what` keeps several places apart.
int64_t place(int64_t n, uint32_t what = 0);

}  // namespace moehill
