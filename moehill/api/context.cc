// Implementation of api/context.h: one call at a time, and agreement of the processes before any of them
// sends a row.
#include "moehill/api/context.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"
#include "moehill/machine/topology.h"
#include "moehill/mesh/session.h"
#include "moehill/mesh/threads/thread_mesh.h"

namespace moehill {
namespace {

constexpr std::array kEntryNames = {"moehill_block_create",
                                    "moehill_block_plan",
                                    "moehill_block_forward",
                                    "moehill_block_backward",
                                    "moehill_block_store_shared_gradients",
                                    "moehill_exchange_create",
                                    "moehill_exchange_plan",
                                    "moehill_exchange_dispatch",
                                    "moehill_exchange_combine",
                                    "moehill_exchange_combine_backward",
                                    "moehill_exchange_dispatch_backward"};

// Throws Failure for options out of range, and for several devices in a process of an MPI job.
void require_legal(const moehill_context_options& options) {
  if (options.devices < 1 || options.devices > 1024)
    throw invalid("devices", fmt::format("{}", options.devices), "1 to 1024",
                  "take 1 for one device with all cores");
  if (options.threads_per_device < 0 || options.threads_per_device > 1024) {
    throw invalid("threads_per_device", fmt::format("{}", options.threads_per_device), "0 to 1024",
                  "take 0 for the cores of this process");
  }
  if (options.pinning != MOEHILL_PINNING_OFF && options.pinning != MOEHILL_PINNING_CORES) {
    throw invalid("pinning", fmt::format("{}", options.pinning), "MOEHILL_PINNING_OFF, MOEHILL_PINNING_CORES",
                  "take one of them");
  }
  if (options.mpi_comm != nullptr && options.devices != 1) {
    throw invalid("devices", fmt::format("{} with an MPI communicator", options.devices),
                  "1, one device a process", "start more processes");
  }
}

// Makes the mesh of a context: processes of an MPI job, or threads of this process.
std::unique_ptr<Mesh> make_mesh(const moehill_context_options& options) {
  require_legal(options);
  const bool pins = options.pinning == MOEHILL_PINNING_CORES;
  std::vector<int> cpus = core_cpus();
  if (options.mpi_comm != nullptr) {
    return make_mesh_of(
        options.mpi_comm, options.mpi_comm_size,
        {.threads_per_device = options.threads_per_device, .node_cpus = cpus, .pins_threads = pins});
  }
  // Without a number of threads, the devices share the cores evenly. If there are more threads than cores,
  // none is pinned, because threads pinned to one core would slow each other down.
  const int num_cpus = static_cast<int>(cpus.size());
  const int threads =
      options.threads_per_device > 0 ? options.threads_per_device : std::max(1, num_cpus / options.devices);
  const size_t total = static_cast<size_t>(threads) * static_cast<size_t>(options.devices);
  if (!pins || total > cpus.size()) {
    cpus.clear();
  } else {
    cpus.resize(total);
  }
  return std::make_unique<ThreadMesh>(options.devices, threads, cpus);
}

// Agreed says which call a process makes. The processes send it to each other before a call, packed into one
// number.
struct Agreed {
  int64_t object;
  Entry entry;
  moehill_status status;
  int64_t word() const { return object << 16 | static_cast<int64_t>(entry) << 8 | status; }
  static Agreed of(int64_t word) {
    return {word >> 16, static_cast<Entry>(word >> 8 & 0xff), static_cast<moehill_status>(word & 0xff)};
  }
};

// Returns the failure with which `work` ends, or nothing.
std::optional<Failure> failure_of(FunctionRef<void()> work) {
  try {
    work();
    return std::nullopt;
  } catch (...) {
    return current_failure();
  }
}

}  // namespace

const char* name_of(Entry entry) { return kEntryNames.at(static_cast<size_t>(entry)); }

Context::Context(const moehill_context_options& options)
    : Context(make_mesh(options), options.mpi_comm != nullptr) {}

Context::Context(std::unique_ptr<Mesh> mesh, bool spans_processes)
    : process_(getpid()),
      mesh_(std::move(mesh)),
      spans_processes_(spans_processes),
      local_(mesh_->local_devices()) {
  // Each process sends two words in an agreement: the packed call, and the value of its check.
  words_.resize(2 * static_cast<size_t>(num_processes()));
  for (int r = 0; r <= num_processes(); ++r) word_offsets_.push_back(2 * r);
}

bool Context::is_of_this_process() const { return getpid() == process_; }

// Waits until the calls before this one have ended. Throws for a forked child and for a context that is
// broken. A child must not wait: if another thread of its parent was in a call when it forked, the child's
// copy of the lock stays locked for ever.
std::unique_lock<std::mutex> Context::take_turn() {
  if (!is_of_this_process()) {
    throw Failure(
        MOEHILL_FORKED,
        fmt::format("context: got a call in process {}, allowed: in process {} that made it; after a "
                    "fork make a context of your own",
                    getpid(), process_));
  }
  std::unique_lock<std::mutex> turn(mutex_);
  if (broken_) {
    throw Failure(MOEHILL_BROKEN,
                  "context: a call before this one failed in the middle of an exchange, and other processes "
                  "may wait for this one; end the job");
  }
  return turn;
}

// Gathers from each rank the object, the entry, the status of its check, and the value. Returns why the call
// may not happen; if one process gets a failure, all get one.
std::optional<Failure> Context::agree(Group& group, const Call& call, int64_t value,
                                      const std::optional<Failure>& own) {
  const int64_t word[2] = {Agreed{call.object, call.entry, own ? own->status() : MOEHILL_OK}.word(), value};
  group.all_gather(word, word_offsets_, sizeof(int64_t), words_.data());
  // A process reports its own error first, because its caller can correct it. The other processes learn that
  // a peer failed.
  if (own) return own;
  for (int r = 0; r < num_processes(); ++r) {
    const Agreed other = Agreed::of(words_[2 * static_cast<size_t>(r)]);
    if (other.entry != call.entry) {
      return Failure(MOEHILL_WRONG_ORDER,
                     fmt::format("{}: process {} calls {} meanwhile; all processes must make the same calls",
                                 name_of(call.entry), r, name_of(other.entry)));
    }
    if (other.object != call.object) {
      return Failure(
          MOEHILL_WRONG_ORDER,
          fmt::format(
              "{}: got the context's object number {}, and number {} in process {}, allowed: the same in all "
              "processes; make the same calls everywhere",
              name_of(call.entry), call.object, other.object, r));
    }
    if (other.status != MOEHILL_OK) {
      return Failure(MOEHILL_PEER_FAILED,
                     fmt::format("{}: process {} made an error ({}), nothing was done", name_of(call.entry),
                                 r, moehill_status_name(other.status)));
    }
  }
  return std::nullopt;
}

void Context::collective(const Call& call) {
  const std::unique_lock<std::mutex> turn = take_turn();
  // Without other processes there is nothing to agree on.
  if (!spans_processes_) {
    words_[1] = call.check();
    call.agreed();
    mesh_->run(call.on_device);
    return call.done();
  }
  int64_t value = 0;
  // Errors are kept until all processes know of them, because a process that left here would let the others
  // wait forever.
  std::optional<Failure> failure = failure_of([&] { value = call.check(); });
  try {
    const auto on_device = [&](Group& group) {
      failure = agree(group, call, value, failure);
      if (!failure) failure = failure_of(call.agreed);
      if (!failure) call.on_device(group);
    };
    mesh_->run(FunctionRef<void(Group&)>(on_device));
  } catch (...) {
    // An error after the agreement may leave other processes in the middle of an exchange. Nothing can repair
    // that.
    broken_ = true;
    throw Failure(MOEHILL_BROKEN, current_failure().what());
  }
  if (failure) throw *failure;
  call.done();
}

// Runs `work` on each device of this process, without other processes.
void Context::local(FunctionRef<void(int, ThreadTeam&)> work) {
  if (spans_processes_)
    return on_first([&](ThreadTeam& team) { work(static_cast<int>(local_.begin), team); });
  const std::unique_lock<std::mutex> turn = take_turn();
  mesh_->run([&](Group& group) { work(group.rank(), group.team()); });
}

void Context::on_devices(FunctionRef<void(Group&)> work) {
  const std::unique_lock<std::mutex> turn = take_turn();
  mesh_->run(work);
}

void Context::on_first(FunctionRef<void(ThreadTeam&)> work) {
  const std::unique_lock<std::mutex> turn = take_turn();
  // The caller's own thread works as the first of the team, so it is pinned for that time.
  ThreadTeam& team = mesh_->team(static_cast<int>(local_.begin));
  std::optional<PinScope> pin;
  if (!team.cpus().empty()) pin.emplace(team.cpus()[0]);
  work(team);
}

}  // namespace moehill
