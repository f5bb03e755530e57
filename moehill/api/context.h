// Context: the devices of a caller, and how calls of its objects reach them.
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

// The entry that a process has called. Processes compare it, so that two that call different entries at once
// are told so.
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

// A reference to something that can be called, for the time of a call: nothing is allocated for it.
template <typename Signature>
class FunctionRef;
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

class Context {
 public:
  // Collective over the processes of options.mpi_comm.
  explicit Context(const moehill_context_options& options);
  // For measuring (moehill/api/measuring.h): devices that somebody else made, each in a process of its own if
  // `spans_processes`.
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

  // A collective call.
  struct Call {
    Entry entry;
    int64_t object = 0;  // its number, which must be the same in all processes; 0 for one that is being made
    // Sees to the arguments and prepares what is local, by throwing: if it does so in any process the call
    // fails in all of them before anything has been exchanged. It returns something that every process is
    // told of the others.
    FunctionRef<int64_t()> check;
    // Works with the values of all processes and is called once in each. It throws in all processes or in
    // none.
    FunctionRef<void()> agreed = kNothing;
    FunctionRef<void(Group&)> on_device;
    FunctionRef<void()> done = kNothing;  // once a process, if nothing went wrong
  };
  // Makes it when its turn has come.
  void collective(const Call& call);
  // The number of an object that collective() has just made, so in the same order in all processes: from 1.
  int64_t number_object() { return ++num_objects_; }
  // [processes] the values of the running collective call.
  int64_t value_of(int process) const { return words_[2 * static_cast<size_t>(process) + 1]; }

  // Work that needs no peer, on each device of this process at once, when its turn has come.
  void local(FunctionRef<void(int device, ThreadTeam& team)> work);
  // For measuring: work on all devices, with no agreement before it, since the processes know that they call
  // the same.
  void on_devices(FunctionRef<void(Group&)> work);
  // Runs `work` on the first device alone.
  void on_first(FunctionRef<void(ThreadTeam& team)> work);

 private:
  // Throws unless this process made the context and nothing has broken it.
  void require_usable() const;
  std::optional<Failure> agree(Group& group, const Call& call, int64_t value,
                               const std::optional<Failure>& own);

  pid_t process_;
  std::mutex mutex_;
  std::unique_ptr<Mesh> mesh_;
  bool spans_processes_ = false;
  Range local_;
  bool broken_ = false;
  int64_t num_objects_ = 0;
  std::vector<int64_t> words_, word_offsets_;  // [processes][2] what a call is told of each, [processes + 1]
};

}  // namespace moehill
