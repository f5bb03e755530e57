#include "moehill/machine/interruption.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace moehill {

const char* signal_name(int number) {
  switch (number) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "SIGXCPU";
  }
}

namespace {

std::atomic<int> noted{0};
std::atomic<const char*> said_at_once{nullptr};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");
static_assert(std::atomic<const char*>::is_always_lock_free, "a signal handler reads it");

void say(const char* text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

void note(int number) {
  noted.store(number);
  if (number == SIGXCPU) std::signal(SIGXCPU, SIG_IGN);
  const char* text = said_at_once.load();
  if (text == nullptr) return;
  const int before = errno;  // of the code that the signal interrupts
  say("\nmoehill: ");
  say(signal_name(number));
  say(": ");
  say(text);
  say("\n");
  errno = before;
}

void say_and_end(int number) {
  say("\nmoehill: interrupted by ");
  say(signal_name(number));
  say("; what was not written yet is lost\n");
  raise(number);  // SA_RESETHAND has restored the default action, which ends the process when this handler
                  // returns
}

// Installs `handler` for the next such signal only; after it, the default action holds again. A signal that
// is ignored stays ignored.
void act_once(int number, void (*handler)(int), struct sigaction* before) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(number, nullptr, before);
  if (before->sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
}

}  // namespace

Interrupted::Interrupted(int number, const std::string& what)
    : std::runtime_error(std::string("interrupted by ") + signal_name(number) + ": " + what),
      signal(number) {}

Interruption::Interruption(const char* at_once) {
  noted.store(0);
  said_at_once.store(at_once);
  for (size_t i = 0; i < std::size(kEndingSignals); ++i) act_once(kEndingSignals[i], note, &before_[i]);
}

Interruption::~Interruption() {
  for (size_t i = 0; i < std::size(kEndingSignals); ++i) {
    struct sigaction now = {};
    sigaction(kEndingSignals[i], nullptr, &now);
    // A SIGXCPU that was noted stays ignored, so that the results can still be written.
    if (now.sa_handler != SIG_IGN) sigaction(kEndingSignals[i], &before_[i], nullptr);
  }
  said_at_once.store(nullptr);
}

int Interruption::signal() const { return noted.load(); }

void say_what_interrupts() {
  struct sigaction before = {};
  for (const int number : kEndingSignals) act_once(number, say_and_end, &before);
}

}  // namespace moehill
