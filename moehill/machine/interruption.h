// Interruption lets a user end a long measurement with Ctrl-C and still get the results so far.
//
//   Interruption interruption;
//   while (interruption.signal() == 0 && !done()) measure_one();
//   write_results();   // also after a signal
#pragma once

#include <csignal>
#include <stdexcept>
#include <string>

namespace moehill {

// While an Interruption lives, the first SIGINT, SIGTERM or SIGHUP is only noted, so that the caller can end
// its loop and keep its results. A second signal ends the process. At most one object may live at a time.
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
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3];
};

// A caller throws Interrupted if a signal came before there was anything to keep. `what` says what was left
// undone.
struct Interrupted : std::runtime_error {
  Interrupted(int number, const std::string& what);
  int signal;
};

const char* signal_name(int number);  // "SIGINT"; only for SIGINT, SIGTERM and SIGHUP

// From now on, SIGINT, SIGTERM and SIGHUP end the process with a line on standard error that says so. A
// signal that is ignored, for example because of nohup, stays ignored.
void say_what_interrupts();

}  // namespace moehill
