// Implements mpi_session.h. A rank that waits for the others sleeps between looks instead of spinning.
// Meanwhile it answers ranks that ask who is still there (the roll call).
#include "moehill/mesh/mpi/mpi_session.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <stdexcept>
#include <thread>

#include "moehill/machine/clock.h"
#include "moehill/machine/naps.h"
#include "moehill/machine/topology.h"
#include "moehill/mesh/launcher.h"
#include "moehill/mesh/mpi/library_group.h"
#include "moehill/mesh/mpi/mpi_mesh.h"
#include "moehill/mesh/node_cpus.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 30;  // fits an int, as MPI counts must
constexpr int kReadings = 100;
constexpr int kClockTag = 77;                 // used for no other message of the session
constexpr int kAskTag = 78, kAnswerTag = 79;  // for the roll call
constexpr double kRollCallSeconds = 5;
constexpr double kAbortSeconds = 10;
// Returns the CPUs that the launcher meant for this process. If mpirun bound the process without a request of
// the user, these are all CPUs that mpirun itself may use.
std::vector<int> cpus_by_launcher() {
  std::vector<int> cpus = allowed_cpus();
  if (!is_bound_unasked()) return cpus;
  const std::vector<int> launchers = allowed_cpus_of_parent();
  return launchers.empty() ? cpus : launchers;
}

}  // namespace

MpiSession::MpiSession() {
  end_with_hydra();
  // A process that hangs in MPI_Init cannot throw, so a watcher ends it when the limit has passed.
  int level = MPI_THREAD_SINGLE;
  {
    const WatchedCall watched("MPI_Init");
    check_mpi("MPI_Init_thread", MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level));
  }
  if (level < MPI_THREAD_FUNNELED) {
    throw std::runtime_error("MPI_Init_thread: this MPI allows no threads; it needs MPI_THREAD_FUNNELED");
  }
  check_mpi("MPI_Comm_set_errhandler", MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  comm_.emplace(Communicator::duplicate_of(MPI_COMM_WORLD));
  messages_.emplace(comm_->get(), kPieceBytes);
  rank_ = comm_->rank();
  size_ = comm_->size();
  const Communicator node = Communicator::node_of(comm_->get());
  nodes_ = nodes_of(comm_->get(), node.get());
  set_rank_hosts(all_hosts());
  place_on_node(node);
}

void MpiSession::place_on_node(const Communicator& node) {
  // First each process looks at its own CPUs alone, to learn its cores. Then all processes may run on the
  // CPUs of all, because moehill places its threads itself.
  const std::vector<int> own = cpus_by_launcher();
  allow_cpus(own);
  local_rank_ = static_cast<size_t>(node.rank());
  node_cpus_ = gather_lists(node.get(), core_cpus());
  std::vector<int> all;
  for (const std::vector<int>& cpus : gather_lists(node.get(), own))
    all.insert(all.end(), cpus.begin(), cpus.end());
  allow_cpus(all);
  fair_threads_ = moehill::fair_threads(node_cpus_);
  // Nodes may allow different numbers of threads; the job takes the least.
  check_mpi("MPI_Allreduce", MPI_Allreduce(MPI_IN_PLACE, &fair_threads_, 1, MPI_INT, MPI_MIN, comm_->get()));
}

std::vector<int> MpiSession::own_cpus(int num_threads) const {
  const std::vector<std::vector<int>> shares = share_cpus(node_cpus_, num_threads);
  return shares.empty() ? std::vector<int>{} : shares[local_rank_];
}

// Returns the hosts of all ranks, for messages. Names are cut to kLength characters.
std::vector<std::string> MpiSession::all_hosts() const {
  constexpr size_t kLength = 64;
  char name[MPI_MAX_PROCESSOR_NAME] = "?";
  int length = 0;
  check_mpi("MPI_Get_processor_name", MPI_Get_processor_name(name, &length));
  name[kLength - 1] = '\0';
  std::vector<char> all(static_cast<size_t>(size_) * kLength);
  check_mpi("MPI_Allgather",
            MPI_Allgather(name, kLength, MPI_CHAR, all.data(), kLength, MPI_CHAR, comm_->get()));
  std::vector<std::string> hosts;
  for (size_t r = 0; r < static_cast<size_t>(size_); ++r) hosts.emplace_back(&all[r * kLength]);
  return hosts;
}

// The MPI library's own waits spin, even if a rank waits for hours. This wait sleeps between looks.
void MpiSession::wait_asleep(const char* call, MPI_Request request, Naps naps) {
  Patience patience(call);
  for (;; naps.take()) {
    int done = 0;
    check_mpi("MPI_Test", MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done != 0) return;
    answer_roll_call();
    if (patience.is_over()) patience.give_up(missing_at_roll_call());
  }
}

// Answers every rank that asks whether this one is there.
void MpiSession::answer_roll_call() {
  for (;;) {
    int asked = 0;
    MPI_Status status;
    check_mpi("MPI_Iprobe", MPI_Iprobe(MPI_ANY_SOURCE, kAskTag, comm_->get(), &asked, &status));
    if (asked == 0) return;
    check_mpi("MPI_Recv",
              MPI_Recv(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, kAskTag, comm_->get(), MPI_STATUS_IGNORE));
    check_mpi("MPI_Send", MPI_Send(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, kAnswerTag, comm_->get()));
  }
}

// A collective of the MPI library does not tell which ranks are missing. So this rank asks all others, and
// every rank that waits here or in another collective answers. The answers need not be received later,
// because the job ends here.
std::string MpiSession::missing_at_roll_call() {
  std::vector<MPI_Request> answers(static_cast<size_t>(size_), MPI_REQUEST_NULL);
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    MPI_Request ask = MPI_REQUEST_NULL;
    check_mpi("MPI_Irecv",
              MPI_Irecv(nullptr, 0, MPI_BYTE, r, kAnswerTag, comm_->get(), &answers[static_cast<size_t>(r)]));
    check_mpi("MPI_Isend", MPI_Isend(nullptr, 0, MPI_BYTE, r, kAskTag, comm_->get(), &ask));
    check_mpi("MPI_Request_free", MPI_Request_free(&ask));
  }
  std::vector<int> missing;
  for (const double begin = seconds(); seconds() - begin < kRollCallSeconds;) {
    // Two ranks may ask each other at the same time, so this one answers while it waits.
    answer_roll_call();
    missing.clear();
    for (int r = 0; r < size_; ++r) {
      int answered = 0;
      check_mpi("MPI_Test", MPI_Test(&answers[static_cast<size_t>(r)], &answered, MPI_STATUS_IGNORE));
      if (answered == 0) missing.push_back(r);
    }
    if (missing.empty()) return "others, who answer and are at other calls";
    std::this_thread::sleep_for(Naps::kShortest);
  }
  return rank_names(missing);
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > 0) fail("ended by an exception", kExitFailed);
  const WatchedCall end("MPI_Finalize");
  comm_.reset();
  (void)MPI_Finalize();
}

void MpiSession::fail(const std::string& message, int exit_status) noexcept {
  char host[MPI_MAX_PROCESSOR_NAME] = "?";
  int length = 0;
  (void)MPI_Get_processor_name(host, &length);
  std::fprintf(stderr, "moehill: rank %d of %d on %s: %s\n", rank_, size_, host, message.c_str());
  std::fflush(nullptr);
  const int status = exit_status == 0 ? kExitFailed : exit_status;
  // MPI_Abort asks the launcher's daemons, one of which may be gone. If it does not return in time, this
  // process ends by itself.
  const auto end_later = [status] {
    std::this_thread::sleep_for(std::chrono::duration<double>(kAbortSeconds));
    std::_Exit(status);
  };
  try {
    std::thread(end_later).detach();
  } catch (const std::exception&) {  // if no thread can be made, there is no time limit
  }
  (void)MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

std::unique_ptr<Mesh> MpiSession::make_mesh(const MpiMeshOptions& options) {
  MpiMeshOptions own = options;
  if (!options.node_cpus.empty()) own.node_cpus = node_cpus_[local_rank_];
  return std::make_unique<MpiMesh>(MPI_COMM_WORLD, own);
}

std::unique_ptr<Group> MpiSession::make_library_group(ThreadTeam& team) {
  return std::make_unique<LibraryGroup>(comm_->get(), team);
}

std::string MpiSession::broadcast(const std::string& text) {
  // The length goes first, by a broadcast that sleeps. A text may be longer than an MPI count, so it goes as
  // messages.
  uint64_t bytes = text.size();
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Ibcast", MPI_Ibcast(&bytes, 1, MPI_UINT64_T, 0, comm_->get(), &request));
  wait_asleep("a broadcast", request);
  std::string result = rank_ == 0 ? text : std::string(bytes, '\0');
  if (rank_ == 0) {
    for (int r = 1; r < size_; ++r) messages_->send(result.data(), result.size(), r);
  } else {
    messages_->receive(result.data(), result.size(), 0);
  }
  finish_asleep("broadcast");
  return result;
}

std::vector<std::string> MpiSession::gather(const std::string& text) {
  const uint64_t bytes = text.size();
  std::vector<uint64_t> sizes(rank_ == 0 ? static_cast<size_t>(size_) : 0);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Igather",
            MPI_Igather(&bytes, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, 0, comm_->get(), &request));
  wait_asleep("a gather", request);
  std::vector<std::string> texts;
  for (const uint64_t size : sizes) texts.emplace_back(size, '\0');
  if (rank_ == 0) {
    texts[0] = text;
    for (size_t r = 1; r < texts.size(); ++r) {
      messages_->receive(texts[r].data(), texts[r].size(), static_cast<int>(r));
    }
  } else {
    messages_->send(text.data(), text.size(), 0);
  }
  finish_asleep("gather");
  return texts;
}

std::vector<double> MpiSession::share(double value) {
  std::vector<double> values(static_cast<size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Iallgather",
            MPI_Iallgather(&value, 1, MPI_DOUBLE, values.data(), 1, MPI_DOUBLE, comm_->get(), &request));
  wait_asleep("an exchange of figures", request);
  return values;
}

std::vector<std::string> MpiSession::exchange(const std::vector<std::string_view>& messages) {
  // Each rank first learns how much it gets from every other one.
  std::vector<uint64_t> sent, coming(messages.size());
  for (const std::string_view message : messages) sent.push_back(message.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Ialltoall", MPI_Ialltoall(sent.data(), 1, MPI_UINT64_T, coming.data(), 1, MPI_UINT64_T,
                                           comm_->get(), &request));
  wait_asleep("an exchange", request);
  std::vector<std::string> came(messages.size());
  for (size_t r = 0; r < came.size(); ++r) {
    const int rank = static_cast<int>(r);
    if (rank == rank_) {
      came[r] = messages[r];
      continue;
    }
    came[r].resize(coming[r]);
    if (coming[r] > 0) messages_->receive(came[r].data(), came[r].size(), rank);
    if (sent[r] > 0) messages_->send(messages[r].data(), messages[r].size(), rank);
  }
  finish_asleep("exchange");
  return came;
}

ClockReading MpiSession::read_clock_of(int rank) {
  const WatchedCall call("reading a clock");
  ClockReading best{.uncertainty = std::numeric_limits<double>::max()};
  for (int i = 0; i < kReadings; ++i) {
    ClockReading reading;
    const double sent = seconds();
    check_mpi("MPI_Send", MPI_Send(nullptr, 0, MPI_BYTE, rank, kClockTag, comm_->get()));
    check_mpi("MPI_Recv",
              MPI_Recv(&reading.own, 1, MPI_DOUBLE, rank, kClockTag, comm_->get(), MPI_STATUS_IGNORE));
    const double back = seconds();
    // The other rank read its clock at some moment between this rank's sending and receiving. So the middle
    // of the two is wrong by at most half of the time between them.
    reading.offset = (sent + back) / 2 - reading.own;
    reading.uncertainty = (back - sent) / 2;
    if (reading.uncertainty < best.uncertainty) best = reading;
  }
  return best;
}

// Quick answers need a rank that spins, so this rank sleeps only until its turn comes.
void MpiSession::answer_reading() {
  Patience patience("reading clocks");
  for (Naps naps;; naps.take()) {
    int asked = 0;
    check_mpi("MPI_Iprobe", MPI_Iprobe(0, kClockTag, comm_->get(), &asked, MPI_STATUS_IGNORE));
    if (asked != 0) break;
    answer_roll_call();
    patience.check([] { return rank_name(0); });
  }
  const WatchedCall call("answering for a clock");
  for (int i = 0; i < kReadings; ++i) {
    check_mpi("MPI_Recv", MPI_Recv(nullptr, 0, MPI_BYTE, 0, kClockTag, comm_->get(), MPI_STATUS_IGNORE));
    const double now = seconds();
    check_mpi("MPI_Send", MPI_Send(&now, 1, MPI_DOUBLE, 0, kClockTag, comm_->get()));
  }
}

std::vector<ClockReading> MpiSession::read_clocks() {
  if (rank_ != 0) {
    answer_reading();
    return {};
  }
  std::vector<ClockReading> readings = {{.own = seconds()}};
  for (int r = 1; r < size_; ++r) readings.push_back(read_clock_of(r));
  return readings;
}

void MpiSession::wait_quietly(Naps::Duration longest_nap) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi("MPI_Ibarrier", MPI_Ibarrier(comm_->get(), &request));
  wait_asleep("a barrier", request, Naps(longest_nap));
}

void MpiSession::start_together() {
  const WatchedCall call("MPI_Barrier");
  check_mpi("MPI_Barrier", MPI_Barrier(comm_->get()));
}

// Completes the messages of a collective, asleep between looks.
void MpiSession::finish_asleep(const char* collective) {
  Patience patience(collective);
  for (Naps naps; !messages_->are_done(); naps.take()) {
    answer_roll_call();
    patience.check(messages_->num_done(), [this] { return missing_at_roll_call(); });
  }
  messages_->finish(collective);
}

// The libraries call themselves "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\n...".
std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  check_mpi("MPI_Get_library_version", MPI_Get_library_version(text, &length));
  const std::string full(text);
  const std::string line = full.substr(0, full.find_first_of(",\n"));
  const size_t label = line.find(" Version:");
  if (label == std::string::npos) return line;
  return line.substr(0, label) + " " + line.substr(line.find_last_of(": \t") + 1);
}

std::unique_ptr<Session> open_mpi_session() { return std::make_unique<MpiSession>(); }

}  // namespace moehill
