// A rank of a job that is to fail: all ranks go through collectives for ever.
//   mpi_victim throw|unwind|loop|asleep|library DIRECTORY
// Each writes its process id to DIRECTORY/pid.RANK when the collectives have begun, and then no wait lasts
// longer than 2 s. On a busy machine the ranks may start seconds apart. `throw`: rank 1 throws between two
// collectives and its main ends the job; `unwind`: its session goes while the exception unwinds. The others
// go on until somebody kills or stops a rank: `loop` by collectives of a mesh, `asleep` by barriers of the
// session, `library` by the library's own collectives.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "moehill/mesh/session.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

void begin(const std::string& directory, int rank) {
  set_wait_limit(2);
  std::ofstream(directory + "/pid." + std::to_string(rank)) << getpid() << "\n";
}

void run_for_ever(Session& session, const std::string& directory, bool throws) {
  const std::unique_ptr<Mesh> mesh = session.make_mesh({});
  mesh->run([&](Group& group) {
    const std::shared_ptr<void> shared = group.exchange_memory(1000 * sizeof(float));
    std::vector<float> own(1000, 1.0f);
    for (int step = 0;; ++step) {
      if (throws && group.rank() == 1 && step == 100) throw std::runtime_error("planted failure");
      group.all_reduce(own.data(), DType::f32, shared.get(), DType::f32, 1000);
      if (step == 0) begin(directory, session.rank());
    }
  });
}

void sleep_for_ever(Session& session, const std::string& directory) {
  session.wait_quietly();
  begin(directory, session.rank());
  for (;;) session.wait_quietly();
}

void use_library_for_ever(Session& session, const std::string& directory) {
  ThreadTeam team(1);
  const std::unique_ptr<Group> group = session.make_library_group(team);
  group->barrier();
  begin(directory, session.rank());
  for (;;) group->barrier();
}

int run(const std::string& mode, const std::string& directory) {
  const std::unique_ptr<Session> session = open_mpi_session();
  if (mode == "unwind") run_for_ever(*session, directory, true);
  try {
    if (mode == "asleep") sleep_for_ever(*session, directory);
    if (mode == "library") use_library_for_ever(*session, directory);
    run_for_ever(*session, directory, mode == "throw");
  } catch (const std::exception& error) {
    session->fail(error.what(), 5);
  }
  return 0;
}

}  // namespace
}  // namespace moehill

int main(int argc, char** argv) {
  if (argc != 3)
    return std::fputs("usage: mpi_victim throw|unwind|loop|asleep|library DIRECTORY\n", stderr), 2;
  try {
    return moehill::run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
