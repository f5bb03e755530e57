// Context has the devices of a caller, and brings the calls of its objects to them, one call at a time. It
// knows nothing of blocks or routers: an object hands it a Call.
//
//     context->collective({.entry = Entry::plan,
//                          .object = number_,
//                          .check = [&] { require_legal(...); return own.tokens; },   // may throw Failure
//                          .on_device = [&](Group& group) { path_of(group).make_plan(group, nullptr); }});
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "moehill/api/failure.h"
#include "moehill/machine/pinning.h"
#include "moehill/mesh/mesh.h"

namespace moehill {

// Entry is the function of the interface that a process has called. Processes compare it. If two of them call
// different functions at once, both get an error that says so.
enum class Entry {
  create_block,
  plan,
  forward,
  backward,
  store_shared,
  create_exchange,
  exchange_plan,
  dispatch,
  combine,
  combine_backward,
  dispatch_backward
};
const char* name_of(Entry);

// FunctionRef refers to a callable that must outlive it. It allocates nothing, unlike std::function.
template <typename Signature>
class FunctionRef;
// This specialisation splits the signature into its result and its arguments.
template <typename Result, typename... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <typename F>
  FunctionRef(const F& f)  // NOLINT: implicit by design
      : object_(&f), call_([](const void* object, Arguments... arguments) -> Result {
          return (*static_cast<const F*>(object))(arguments...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(object_, arguments...); }

 private:
  const void* object_;
  Result (*call_)(const void*, Arguments...);
};

inline constexpr auto kNothing = [] {};

// Context is made once and shared by its objects.
class Context {
 public:
  // Collective over the processes of options.mpi_comm.
  explicit Context(const moehill_context_options& options);
  // For measuring (moehill/api/measuring.h): takes devices that the harness made. With `spans_processes` each
  // of them is in a process of its own.
  Context(std::unique_ptr<Mesh> mesh, bool spans_processes);

  int num_devices() const { return mesh_->num_devices(); }
  int threads_per_device() const { return mesh_->threads_per_device(); }
  Range local_devices() const { return local_; }
  bool spans_processes() const { return spans_processes_; }
  int num_processes() const { return spans_processes_ ? num_devices() : 1; }
  int rank() const { return spans_processes_ ? static_cast<int>(local_.begin) : 0; }
  bool is_of_this_process() const;  // false in a forked child
  bool is_pinned() const {
    const std::vector<int> cpus = mesh_->local_cpus();
    return !cpus.empty() && cpus.front() != kAnyCpu;
  }

  // Call is a collective call in four steps: check, agreed, on_device, done.
  struct Call {
    Entry entry;
    // The object's number from number_object(), which must be the same in all processes; 0 while the call
    // makes the object.
    int64_t object = 0;
    // Checks the arguments and makes the preparations that need no other process. If it throws in any
    // process, the call fails in all of them before any row has been sent. All processes learn the value that
    // it returns.
    FunctionRef<int64_t()> check;
    // Works with the values of all processes (value_of()). It is called once in each process, and throws in
    // all of them or in none.
    FunctionRef<void()> agreed = kNothing;
    FunctionRef<void(Group&)> on_device;
    FunctionRef<void()> done = kNothing;  // once in each process, if nothing went wrong
  };
  // Runs a call after the calls before it have ended. If it throws Failure, it throws in all processes.
  void collective(const Call& call);
  // Returns the number of an object that collective() has just made. Numbers count from 1, in the same order
  // in all processes.
  int64_t number_object() { return ++num_objects_; }
  // Returns the value that `check` of the running collective call has returned in that process.
  int64_t value_of(int process) const { return words_[2 * static_cast<size_t>(process) + 1]; }

  // Runs work that needs no other process, on all devices of this process at once.
  void local(FunctionRef<void(int device, ThreadTeam& team)> work);
  // For measuring: runs work on all devices without an agreement before it. The harness makes the same calls
  // in all processes.
  void on_devices(FunctionRef<void(Group&)> work);
  // Runs `work` on the first device only.
  void on_first(FunctionRef<void(ThreadTeam& team)> work);

 private:
  // Returns the lock of a call's turn. Throws unless this process made the context and nothing has broken it.
  [[nodiscard]] std::unique_lock<std::mutex> take_turn();
  std::optional<Failure> agree(Group& group, const Call& call, int64_t value,
                               const std::optional<Failure>& own);

  pid_t process_;
  std::mutex mutex_;
  std::unique_ptr<Mesh> mesh_;
  bool spans_processes_ = false;
  Range local_;
  bool broken_ = false;
  int64_t num_objects_ = 0;
  // words_ [processes][2] is what each process says before a call: the packed call, and the value of its
  // check. word_offsets_ [processes + 1] says where a process's words begin.
  std::vector<int64_t> words_, word_offsets_;
};

}  // namespace moehill
