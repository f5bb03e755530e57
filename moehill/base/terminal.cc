// Implements base/terminal.h: the line of progress and its clock, colours, and which characters are safe on a
// terminal.
#include "moehill/base/terminal.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <thread>

#include "moehill/base/table.h"

namespace moehill {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kClearLine = "\r\033[K";
constexpr std::chrono::seconds kPatience{2};  // how long a person watches a line that does not change

Colour chosen_colour = Colour::automatic;

bool terminal_obeys(int descriptor) {
  const char* term = std::getenv("TERM");
  return isatty(descriptor) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

bool takes_colours(int descriptor) {
  if (chosen_colour != Colour::automatic) return chosen_colour == Colour::always;
  const char* refused = std::getenv("NO_COLOR");
  return (refused == nullptr || *refused == '\0') && terminal_obeys(descriptor);
}

// Returns the number of characters that fit into a line. It is one less than the width, because some
// terminals wrap a line that fills them exactly.
size_t line_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1U : 79;
}

void write_line(const std::string& text) {
  std::fprintf(stderr, "%s%s", kClearLine, beginning_of(printable(text), line_width()).c_str());
  std::fflush(stderr);
}

// ProgressLine has the line of progress, and a thread that adds how long the line has stood there. The thread
// wakes once a second and writes a few bytes, which does not disturb a measurement on all cores.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (!ticking_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    ticking_.join();
    if (stands_) write_line("");
  }

  void put(const std::string& text) {
    const std::lock_guard lock(mutex_);
    text_ = text;
    since_ = Clock::now();
    write_line(text_);
    stands_ = !text_.empty();
    start();
  }

  void say_working() {
    const std::lock_guard lock(mutex_);
    says_working_ = true;
    since_ = Clock::now();
    start();
  }

  // Clears the line of progress and runs `write`.
  template <typename Write>
  void make_room(const Write& write) {
    const std::lock_guard lock(mutex_);
    if (stands_) write_line("");
    stands_ = false;
    text_.clear();
    since_ = Clock::now();
    write();
  }

 private:
  void start() {
    if (ticking_.joinable()) return;
    sigset_t all, before;  // signals are for the threads that work
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ticking_ = std::thread([this] { tick(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void tick() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::seconds(1), [this] { return ended_; })) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - since_);
      if (seconds < kPatience || (text_.empty() && !says_working_)) continue;
      const std::string ending = fmt::format(" ({} s)", seconds.count());
      const size_t width = line_width() - std::min(ending.size(), line_width());
      write_line((text_.empty() ? "working" : beginning_of(text_, width)) + ending);
      stands_ = true;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread ticking_;
  std::string text_;
  Clock::time_point since_;
  bool says_working_ = false, stands_ = false, ended_ = false;
};

ProgressLine& progress_line() {
  static ProgressLine line;
  return line;
}

struct Paint {
  std::string_view word;
  const char* colour;
};
constexpr const char *kGreen = "\033[32m", *kRed = "\033[31m", *kYellow = "\033[33m", *kPlain = "\033[0m";
constexpr Paint kPaints[] = {{"passed", kGreen},      {"faster", kGreen},        {"failed", kRed},
                             {"slower", kRed},        {"regression", kRed},      {"mistrusted", kYellow},
                             {"disturbed", kYellow},  {"inconclusive", kYellow}, {"within noise", kYellow},
                             {"cannot tell", kYellow}};

bool joins_words(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; }

// Returns the paint of the word that begins at `place`; "0 failed" is no bad news.
const Paint* paint_at(const std::string& text, size_t place) {
  if (place > 0 && joins_words(text[place - 1])) return nullptr;
  if (place > 1 && text.compare(place - 2, 2, "0 ") == 0 && (place < 3 || !joins_words(text[place - 3])))
    return nullptr;
  for (const Paint& paint : kPaints) {
    const size_t end = place + paint.word.size();
    if (text.compare(place, paint.word.size(), paint.word) == 0 &&
        (end >= text.size() || !joins_words(text[end])))
      return &paint;
  }
  return nullptr;
}

}  // namespace

void choose_colour(Colour colour) { chosen_colour = colour; }

std::string painted(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Paint* paint = paint_at(text, i);
    if (paint == nullptr) {
      out += text[i++];
      continue;
    }
    out += paint->colour + std::string(paint->word) + kPlain;
    i += paint->word.size();
  }
  return out;
}

void show(const std::string& text, std::FILE* stream) {
  // Text from files may hold commands for the terminal. They are replaced before the colours are added.
  const std::string calm = printable(text, '?', "\n");
  const auto write = [&] {
    std::fputs((takes_colours(fileno(stream)) ? painted(calm) : calm).c_str(), stream);
    std::fflush(stream);
  };
  if (text.empty()) return;
  shows_progress() ? progress_line().make_room(write) : write();
}

bool shows_progress() { return terminal_obeys(STDERR_FILENO); }

void show_progress(const std::string& text) {
  if (shows_progress()) progress_line().put(text);
}

void show_that_it_works() {
  struct stat output {};
  const bool pipe = fstat(STDOUT_FILENO, &output) == 0 && S_ISFIFO(output.st_mode);
  if (shows_progress() && !pipe) progress_line().say_working();
}

void tell(const std::string& line) {
  if (line.empty()) return;
  show(printable(line) + "\n", stderr);
}

}  // namespace moehill
