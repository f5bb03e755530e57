// MpiSession is the Session (mesh/session.h) of a process that an MPI launcher started together with others.
// It moves texts and numbers of the harness. Rows go through the mesh that it makes (mpi_group.h).
//
//   const std::unique_ptr<Session> session = open_mpi_session();   // makes an MpiSession
//   session->broadcast("options of rank 0");                       // the same text in each process
#pragma once

#include <optional>

#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/messages.h"
#include "moehill/mesh/session.h"

namespace moehill {

class MpiSession final : public Session {
 public:
  MpiSession();
  ~MpiSession() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const Nodes& nodes() const override { return nodes_; }
  std::string library() const override { return mpi_library(); }
  std::vector<int> own_cpus(int num_threads) const override;
  int fair_threads() const override { return fair_threads_; }
  std::unique_ptr<Mesh> make_mesh(const MpiMeshOptions& options) override;
  std::unique_ptr<Group> make_library_group(ThreadTeam& team) override;
  std::string broadcast(const std::string& text) override;
  std::vector<std::string> gather(const std::string& text) override;
  std::vector<double> share(double value) override;
  std::vector<std::string> exchange(const std::vector<std::string_view>& messages) override;
  std::vector<ClockReading> read_clocks() override;
  void wait_quietly(Naps::Duration longest_nap) override;
  void start_together() override;
  [[noreturn]] void fail(const std::string& message, int exit_status) noexcept override;

 private:
  ClockReading read_clock_of(int rank);
  void answer_reading();
  void finish_asleep(const char* collective);
  std::vector<std::string> all_hosts() const;
  void wait_asleep(const char* call, MPI_Request request, Naps naps = Naps());
  void answer_roll_call();
  std::string missing_at_roll_call();

  std::optional<Communicator> comm_;  // for the session's own messages
  std::optional<Messages> messages_;
  void place_on_node(const Communicator& node);

  int rank_ = 0, size_ = 1;
  Nodes nodes_;
  size_t local_rank_ = 0;
  std::vector<std::vector<int>> node_cpus_;  // [processes of this node] their cores
  int fair_threads_ = 1;
};

}  // namespace moehill
