#include "moehill/quiet/environment.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <random>
#include <vector>

#include "moehill/base/hash.h"
#include "moehill/kernels/simd.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/content_hash.h"

namespace moehill {
namespace {

constexpr char kRevision[] =
#include "revision.inc"
    ;

}  // namespace

Environment detect_environment() {
  Environment environment;
  environment.topology = detect_topology();
  environment.build = build_name();
  environment.compiler = MOEHILL_COMPILER;
  environment.flags = MOEHILL_FLAGS;
  environment.kernels_id = MOEHILL_KERNELS;
  environment.kernel = simd_target();
  environment.load_average = load_average();
  utsname system{};
  if (uname(&system) == 0) {
    environment.system = std::string(system.sysname) + " " + system.release;
    environment.host = system.nodename;
  }
  return environment;
}

std::string build_name() { return std::string(MOEHILL_BUILD " ") + kRevision; }

std::string file_hash(const std::string& path) {
  // One piece is in memory at a time, so that the process's own figures of its memory stay what they are.
  constexpr size_t kPiece = size_t{1} << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) return "unknown";
  std::vector<char> piece(kPiece);
  ThreadTeam alone(1);
  uint64_t hash = kFnvStart;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(kPiece));
    hash = fnv1a(hash, content_hash(alone, piece.data(), static_cast<size_t>(file.gcount())));
  }
  return file.bad() ? "unknown" : fmt::format("{:016x}", hash);
}

const std::string& program_hash() {
  static const std::string hash = file_hash("/proc/self/exe");
  return hash;
}

std::string build_identity(const Environment& environment) {
  return environment.build + ", program " + program_hash();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

uint64_t random_id() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace moehill
