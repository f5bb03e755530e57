// Interruption lets a user end a long measurement with Ctrl-C and still get the results so far.
//
//   Interruption interruption;
//   while (interruption.signal() == 0 && !done()) measure_one();
//   write_results();   // also after a signal
#pragma once

#include <csignal>
#include <iterator>
#include <stdexcept>
#include <string>

namespace moehill {

// These signals ask a process to end. SIGXCPU comes at the soft limit of CPU time (ulimit -S -t).
inline constexpr int kEndingSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};

// While an Interruption lives, the first SIGINT, SIGTERM, SIGHUP or SIGXCPU is only noted, so that the caller
// can end its loop and keep its results. A second signal ends the process, except SIGXCPU: the system sends
// it at the soft limit of CPU time and after each further second, so it is ignored once it was noted. At most
// one object may live at a time.
class Interruption {
 public:
  // When a signal comes, its name and `at_once` are written on standard error at once. The text should say
  // what will end, and when. It has to outlive the object; nullptr: nothing is written.
  explicit Interruption(const char* at_once = nullptr);
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // Returns the signal that came since the construction, or 0.
  int signal() const;

 private:
  struct sigaction before_[std::size(kEndingSignals)];
};

// A caller throws Interrupted if a signal came before there was anything to keep. `what` says what was left
// undone.
struct Interrupted : std::runtime_error {
  Interrupted(int number, const std::string& what);
  int signal;
};

const char* signal_name(int number);  // "SIGINT"; only for kEndingSignals

// From now on, kEndingSignals end the process with a line on standard error that says so. A signal that is
// ignored, for example because of nohup, stays ignored.
void say_what_interrupts();

}  // namespace moehill
