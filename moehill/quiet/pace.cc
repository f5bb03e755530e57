#include "moehill/quiet/pace.h"

#include <fmt/format.h>

#include "moehill/base/table.h"

namespace moehill {
namespace {

// Returns a time with two digits (hours with three), because an estimate is worth no more: "40 s", "3.5 min",
// "2 h".
std::string about(double seconds) {
  if (seconds < 99.5) return fmt::format("{:.2g} s", seconds);
  if (seconds < 99.5 * 60) return fmt::format("{:.2g} min", seconds / 60);
  return fmt::format("{:.3g} h", seconds / 3600);
}

}  // namespace

std::string points_and_rounds(size_t points, int64_t rounds) {
  return fmt::format("{} x {}", count_text(static_cast<int64_t>(points), "point"),
                     count_text(rounds, "round"));
}

std::string estimate_words(double seconds, const std::string& what) {
  return seconds < kWorthTelling_s ? "" : fmt::format("about {}: {}", about(seconds), what);
}

void Pace::done(double amount) {
  done_ += amount;
  const double elapsed = clock_() - begin_;
  if (told_ || elapsed < kLeastPart_s || done_ >= total_) return;
  told_ = true;
  const std::string words = estimate_words(elapsed * total_ / done_, what_);
  if (!words.empty()) tell_(words);
}

}  // namespace moehill
