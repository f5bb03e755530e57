// The kit of lies: `moehill_lies` is `moehill` with one chosen thing going wrong. `run` tells every lie
// through the commands, and each has to end in `failed`.
//
// How a lie is planted. `moehill_lies` has the main, the libraries and the commands of `moehill`, and these
// files. They wrap functions that one room calls in another, by the linker's `--wrap`: a call of the function
// goes to `lying_NAME` here, which may call the function itself as `real_NAME`. The shipped sources know
// nothing of this. A pair of these is a seam, and SEAM declares it:
//
//   SEAM("_ZN7moehill8team_sumERNS_10ThreadTeamERKNS_6SumJobE", void, sum, ThreadTeam&, const SumJob&);
//
//   const Lie reduce_left_out("reduce_left_out", "sums over devices are not made");
//
//   void lying_sum(ThreadTeam& team, const SumJob& job) {
//     if (reduce_left_out.told_on(team)) return;
//     real_sum(team, job);
//   }
//
// The string is the function's name as the linker knows it (`nm libmoehill_mesh.a | grep team_sum`). A method
// gets the object as its first argument, a pointer. CMake reads the names out of these lines and hands them
// to the linker, which refuses one that does not exist. A call within the file that defines the function is
// not wrapped.
//
// How to add a lie.
// 1. Find its seam: run_lies.cc has whole steps, results and operands (a Run around the real one);
//    mlp_lies.cc has products and stages; plan_lies.cc has plans and gate values; mesh_lies.cc has sums and
//    copies between devices.
// 2. Define a `Lie` there with its name and what it does. In the wrapper ask `told()`, or `told_on(team)` if
//    a device lies for itself, and do the wrong thing if the answer is true. Ask only where the lie makes a
//    difference, because a lie that was told and still passes the check is an error of the check.
// 3. Add a row to the table in `run`, which says where the lie means something: commands, paths, steps. A lie
//    without a row fails the kit.
// 4. `tests/lies/run BINARY_OF_LIES BINARY --only NAME --long` tells it with 20 seeds.
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

#define SEAM(symbol, result, name, ...)                  \
  result real_##name(__VA_ARGS__) asm("__real_" symbol); \
  result lying_##name(__VA_ARGS__) asm("__wrap_" symbol)

namespace moehill {

class Group;

class Lie {
 public:
  Lie(const char* name, const char* what);

  // Returns true if this is the chosen lie and the step under way is one that lies.
  bool told() const;
  // These two ask it for one device.
  bool told_on(const ThreadTeam& team) const;
  bool told_by(int rank) const;
  // Returns true if this is the chosen lie, no matter in which step it is told.
  bool is_chosen() const;

  const char* name() const { return name_; }
  const char* what() const { return what_; }

 private:
  const char* name_;
  const char* what_;
  mutable std::atomic<bool> was_told_{false};
};

// From its construction to the end of its scope, a step of a run is under way; `number` counts the run's
// steps.
class StepScope {
 public:
  explicit StepScope(int64_t number);
  ~StepScope();
};

// Returns the number of the step under way.
int64_t step_number();

// Returns a place in [0, n) that depends on the seed; `what` makes several places differ.
int64_t place(int64_t n, uint32_t what = 0);

}  // namespace moehill
