// Interruption: the end of a measurement that somebody asked for, who should get what was measured so far.
#pragma once

#include <csignal>
#include <stdexcept>
#include <string>

namespace moehill {

// While one lives, the first SIGINT, SIGTERM or SIGHUP is noted and nothing else, so that the caller can end
// its loop and keep its results. The second one ends the process. At most one lives at a time.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // Returns the signal that came since the construction, or 0.
  int signal() const;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3];
};

// A signal came before there was anything to keep. `what` says what was not done.
struct Interrupted : std::runtime_error {
  Interrupted(int number, const std::string& what);
  int signal;
};

const char* signal_name(int number);  // "SIGINT"; of one of these three

// From now on SIGINT, SIGTERM and SIGHUP end the process with a line on standard error. A signal that is
// ignored, as nohup has it, stays so.
void say_what_interrupts();

}  // namespace moehill
