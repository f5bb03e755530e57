// Implements thread_mesh.h: a team and a group for each device, and one thread that leads each device.
#include "moehill/mesh/threads/thread_mesh.h"

#include <atomic>
#include <exception>
#include <optional>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"
#include "moehill/machine/spin_wait.h"
#include "moehill/mesh/solo/solo_group.h"
#include "moehill/mesh/threads/rendezvous.h"
#include "moehill/mesh/threads/thread_group.h"

namespace moehill {
namespace {

// Returns n CPUs from `begin` on with stride `step`; none if the mesh is not pinned.
std::vector<int> every(const std::vector<int>& cpus, int begin, int n, int step) {
  std::vector<int> chosen;
  for (int i = 0; i < n && !cpus.empty(); ++i) chosen.push_back(cpus[static_cast<size_t>(begin + i * step)]);
  return chosen;
}

}  // namespace

struct ThreadMesh::State {
  State(int num_devices, int num_threads, const std::vector<int>& cpus, const Nodes& nodes)
      : threads_per_device(num_threads),
        rendezvous(num_devices, num_spins(!cpus.empty())),
        leaders(num_devices, every(cpus, 0, num_devices, num_threads)) {
    for (int d = 0; d < num_devices; ++d) {
      teams.push_back(
          std::make_unique<ThreadTeam>(num_threads, every(cpus, d * num_threads, num_threads, 1)));
      if (num_devices == 1) {
        groups.push_back(std::make_unique<SoloGroup>(*teams.back()));
      } else {
        groups.push_back(std::make_unique<ThreadGroup>(d, num_devices, rendezvous, *teams.back()));
      }
    }
    if (nodes.num() > 1) part_into(nodes, num_spins(!cpus.empty()));
  }

  void part_into(const Nodes& nodes, int spins) {
    for (int node = 0; node < nodes.num(); ++node) {
      const std::span<const int> ranks = nodes.ranks_of(node);
      const int size = static_cast<int>(ranks.size());
      Rendezvous& meeting = *on_nodes.emplace_back(std::make_unique<Rendezvous>(size, spins));
      for (int i = 0; i < size; ++i) {
        const size_t device = static_cast<size_t>(ranks[static_cast<size_t>(i)]);
        node_groups.push_back(std::make_unique<ThreadGroup>(i, size, meeting, *teams[device]));
        static_cast<ThreadGroup&>(*groups[device]).take_nodes(nodes, *node_groups.back());
      }
    }
  }

  void fail_all() {
    rendezvous.fail();
    for (const auto& node : on_nodes) node->fail();
  }
  void reset_all() {
    rendezvous.reset();
    for (const auto& node : on_nodes) node->reset();
  }

  // The first failure is recorded before any other device learns of it, so the exception that is thrown again
  // is the cause.
  void lead(int device, const std::function<void(Group&)>& device_main) {
    Group& group = *groups[static_cast<size_t>(device)];
    try {
      device_main(group);
      group.require_idle("the end of its program");
      // A device that ends its program while others are in a collective is a disagreement like any other.
      rendezvous.meet(device, {.kind = CallKind::finished});
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
      group.on_node().abandon();
      group.abandon();
      fail_all();
    }
  }

  const int threads_per_device;
  Rendezvous rendezvous;
  std::vector<std::unique_ptr<ThreadTeam>> teams;
  std::vector<std::unique_ptr<Rendezvous>> on_nodes;  // [nodes], if there are several
  std::vector<std::unique_ptr<ThreadGroup>> node_groups;
  std::vector<std::unique_ptr<Group>> groups;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  ThreadTeam leaders;  // member d leads device d
};

ThreadMesh::ThreadMesh(int num_devices, int threads_per_device, std::vector<int> cpus, const Nodes& nodes) {
  MOEHILL_CHECK(num_devices >= 1 && threads_per_device >= 1, "a mesh of {} devices with {} threads",
                num_devices, threads_per_device);
  MOEHILL_CHECK(cpus.empty() || static_cast<int>(cpus.size()) == num_devices * threads_per_device,
                "{} CPUs for {} devices with {} threads", cpus.size(), num_devices, threads_per_device);
  state_ = std::make_unique<State>(num_devices, threads_per_device, cpus, nodes);
}

ThreadMesh::~ThreadMesh() = default;

int ThreadMesh::num_devices() const { return state_->leaders.size(); }
int ThreadMesh::threads_per_device() const { return state_->threads_per_device; }
std::vector<int> ThreadMesh::local_cpus() const {
  std::vector<int> all;
  for (const auto& team : state_->teams) all.insert(all.end(), team->cpus().begin(), team->cpus().end());
  return all;
}

ThreadTeam& ThreadMesh::team(int device) { return *state_->teams[static_cast<size_t>(device)]; }

void ThreadMesh::run(const std::function<void(Group&)>& device_main) {
  std::optional<PinScope> pin;
  if (!state_->leaders.cpus().empty()) pin.emplace(state_->leaders.cpus()[0]);
  state_->leaders.run([&](int device) { state_->lead(device, device_main); });
  if (!state_->failed.exchange(false)) return;
  state_->reset_all();
  std::rethrow_exception(std::exchange(state_->failure, nullptr));
}

}  // namespace moehill
