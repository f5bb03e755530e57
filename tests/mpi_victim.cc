// A rank of a job that is to fail: all ranks go through collectives for ever.
//   mpi_victim throw|unwind|loop DIRECTORY
// Each writes its process id to DIRECTORY/pid.RANK first. `throw`: rank 1 throws between two collectives and
// its main ends the job; `unwind`: its session goes while the exception unwinds; `loop`: until somebody kills
// one.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "moehill/mesh/session.h"

namespace moehill {
namespace {

void write_pid(const std::string& directory, int rank) {
  std::ofstream(directory + "/pid." + std::to_string(rank)) << getpid() << "\n";
}

void run_for_ever(Session& session, bool throws) {
  const std::unique_ptr<Mesh> mesh = session.make_mesh({});
  mesh->run([&](Group& group) {
    const std::shared_ptr<void> shared = group.exchange_memory(1000 * sizeof(float));
    std::vector<float> own(1000, 1.0f);
    for (int step = 0;; ++step) {
      if (throws && group.rank() == 1 && step == 100) throw std::runtime_error("planted failure");
      group.all_reduce(own.data(), DType::f32, shared.get(), DType::f32, 1000);
    }
  });
}

int run(const std::string& mode, const std::string& directory) {
  const std::unique_ptr<Session> session = open_mpi_session();
  write_pid(directory, session->rank());
  session->wait_quietly();
  if (mode == "unwind") run_for_ever(*session, true);
  try {
    run_for_ever(*session, mode == "throw");
  } catch (const std::exception& error) {
    session->fail(error.what(), 5);
  }
  return 0;
}

}  // namespace
}  // namespace moehill

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: mpi_victim throw|unwind|loop DIRECTORY\n", stderr), 2;
  try {
    return moehill::run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
