#include "moehill/quiet/environment.h"

#include <sys/utsname.h>

#include <chrono>
#include <ctime>
#include <random>

#include "moehill/kernels/simd.h"
#include "moehill/machine/clock.h"

namespace moehill {

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

std::string build_name() { return MOEHILL_BUILD; }

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
