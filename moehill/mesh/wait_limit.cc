// Implements wait_limit.h: the limit, the names of ranks, and the thread that watches calls.
#include "moehill/mesh/wait_limit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "moehill/machine/clock.h"

namespace moehill {
namespace {

constexpr size_t kMostNamed = 8;

std::atomic<double> limit{0};
std::atomic<int> num_longer{0};
std::atomic<const char*> watched{nullptr};
std::atomic<double> watched_since{0};

std::vector<std::string>& hosts_of_ranks() {
  static std::vector<std::string> hosts;
  return hosts;
}

// A process that has not looked for this long was stopped itself; that time does not count as waiting.
constexpr double kStoppedSeconds = 3;

std::string too_long(const char* what, const std::string& missing) {
  return fmt::format(
      "{}: waited {:.0f} s for {}; it is frozen, cut off, or busy with something else: look at its host, or "
      "allow more by --timeout",
      what, wait_limit(), missing);
}

// Runs in a thread of its own and ends the process when a call of the MPI library has lasted too long,
// because such a call cannot be interrupted.
void watch_calls() {
  double last_look = seconds(), stopped = 0;
  for (double since = 0;; std::this_thread::sleep_for(std::chrono::milliseconds(500))) {
    const double now = seconds(), gap = now - last_look, allowed = wait_limit();
    last_look = now;
    // Another call has begun, so the time that the process was stopped counts anew.
    if (since != watched_since.load()) stopped = 0;
    if (gap > kStoppedSeconds) stopped += gap;
    since = watched_since.load();
    const char* const call = watched.load();
    if (call == nullptr || allowed == 0 || now - since - stopped < allowed) continue;
    std::fprintf(stderr, "moehill: %s\n", too_long(call, "the other processes").c_str());
    std::fflush(nullptr);
    std::_Exit(kExitFailed);
  }
}

}  // namespace

void set_wait_limit(double limit_s) {
  limit = limit_s;
  static std::atomic<bool> is_watched{false};
  if (limit_s > 0 && !is_watched.exchange(true)) std::thread(watch_calls).detach();
}

double wait_limit() { return limit.load() * (num_longer.load() > 0 ? LongerWaits::kTimes : 1); }

LongerWaits::LongerWaits() { ++num_longer; }
LongerWaits::~LongerWaits() { --num_longer; }

void set_rank_hosts(std::vector<std::string> hosts) { hosts_of_ranks() = std::move(hosts); }

std::string host_of_rank(int rank) {
  const std::vector<std::string>& hosts = hosts_of_ranks();
  const size_t r = static_cast<size_t>(rank);
  return r < hosts.size() ? hosts[r] : "";
}

std::string rank_name(int rank) {
  const std::string host = host_of_rank(rank);
  return host.empty() ? fmt::format("rank {}", rank) : fmt::format("rank {} on {}", rank, host);
}

std::string rank_names(const std::vector<int>& ranks) {
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(kMostNamed, ranks.size()); ++i) names.push_back(rank_name(ranks[i]));
  if (ranks.size() > kMostNamed) names.push_back(fmt::format("{} more", ranks.size() - kMostNamed));
  return fmt::format("{}", fmt::join(names, ", "));
}

Patience::Patience(const char* what) : what_(what), begin_(seconds()), last_look_(begin_) {}

bool Patience::is_over() {
  const double now = seconds(), allowed = wait_limit();
  // Time during which this process itself was stopped is no waiting.
  if (now - last_look_ > kStoppedSeconds) begin_ += now - last_look_;
  last_look_ = now;
  return allowed > 0 && now - begin_ > allowed;
}

void Patience::check(const std::function<std::string()>& missing) {
  if (is_over()) give_up(missing());
}

void Patience::check(size_t progress, const std::function<std::string()>& missing) {
  if (!is_over()) return;
  // If something has arrived since the last time, the wait begins anew.
  if (progress == progress_) give_up(missing());
  progress_ = progress;
  begin_ = last_look_;
}

void Patience::give_up(const std::string& missing) const { throw WaitedTooLong(too_long(what_, missing)); }

WatchedCall::WatchedCall(const char* call) {
  watched_since = seconds();
  watched = call;
}

WatchedCall::~WatchedCall() { watched = nullptr; }

}  // namespace moehill
