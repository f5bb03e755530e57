// This header limits how long a process waits for the others of its job. MPI does not report that a rank is
// frozen or cut off, so others would wait for it for ever. When the limit is over, a wait for other processes
// throws an exception that names the missing ranks.
//
//   Patience patience("all_to_all");
//   while (!done()) patience.check([&] { return rank_name(other); });   // throws WaitedTooLong
//
// The limit belongs to the process, because all its waits are for the same job. At first there is no limit,
// since a caller of the library may compute for hours between two calls.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace moehill {

// The exit status of a process that gives its job up. On the command line it means "a run failed".
inline constexpr int kExitFailed = 5;

class WaitedTooLong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// These set and return the limit in seconds; 0: wait for ever.
void set_wait_limit(double limit_s);
double wait_limit();

// While a LongerWaits lives, waits may last kTimes as long, because the first process is working alone.
class LongerWaits {
 public:
  static constexpr double kTimes = 60;
  LongerWaits();
  ~LongerWaits();
  LongerWaits(const LongerWaits&) = delete;
  LongerWaits& operator=(const LongerWaits&) = delete;
};

// Sets the hosts of the ranks for messages. Without them, a rank is shown by its number only.
void set_rank_hosts(std::vector<std::string> hosts);
std::string host_of_rank(int rank);                     // "node7", or empty
std::string rank_name(int rank);                        // "rank 3 on node7"
std::string rank_names(const std::vector<int>& ranks);  // names at most eight

// Patience is one wait. The waiting loop calls check() again and again, which throws WaitedTooLong when the
// limit is over. Time in which this process itself did not run does not count.
class Patience {
 public:
  // what: the call, for the message, such as "all_to_all".
  explicit Patience(const char* what);
  // missing: returns who is waited for, such as "rank 3 on node7". It is called only for the message.
  void check(const std::function<std::string()>& missing);
  // progress: a number that changes while the wait makes progress. Each time it has changed, the limit begins
  // anew.
  void check(size_t progress, const std::function<std::string()>& missing);
  bool is_over();
  [[noreturn]] void give_up(const std::string& missing) const;

 private:
  const char* what_;
  double begin_, last_look_;
  size_t progress_ = 0;
};

// WatchedCall marks a call of a library that may wait for ever and does not return to a loop of ours. While
// there is a limit, a thread of this process watches these calls and ends the process if one lasts too long;
// the launcher then ends the others.
class WatchedCall {
 public:
  explicit WatchedCall(const char* call);
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;
};

}  // namespace moehill
